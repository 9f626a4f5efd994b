import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { AccountChange, AccountCreation } from '../actors/account-decision.js'
import { accountClasses, isDebitNormal } from '../actors/accounts.js'
import { type BalanceView, formatBalance } from '../actors/balance-entry.js'
import {
  CommandKind,
  type RequestContext,
  writeAccountCommand,
  writeRead,
} from '../actors/command.js'
import { type Router, readUnanswered } from '../actors/router.js'
import { isUuid, type Key, newKeyText, slotOf } from '../key.js'
import { formatMinor, toMinor } from '../money.js'
import { type ApiParts, contextOf, servingPartsOf } from './context.js'
import { ApiError, type Asked, invalidField, outcomeUnknown, replyOf } from './errors.js'
import { formatPosition, minSeqOf } from './position.js'
import { accountChanged, accountCreated, accountRead } from './responses.js'
import { AccountChanges, KeyText, MinPosition, NewAccount } from './schemas.js'
import { Status } from './statuses.js'
import { type AccountReply, accountReply, wholeBalance } from './striped-balance.js'
import { decimalField, keyField, metadataField, requestedId } from './transaction-input.js'

const Params = Type.Object({ id: KeyText })
type AccountAnswer = Type.Static<(typeof accountRead)[200]>

/** `/v1/accounts`: create, read, change. */
export const accountRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.post(
    '/v1/accounts',
    {
      schema: {
        summary: 'Create an account',
        operationId: 'createAccount',
        tags: ['accounts'],
        body: NewAccount,
        response: accountCreated,
      },
    },
    async (request, reply) => {
      const { router } = servingPartsOf(parts)
      const context = contextOf(request)
      const idText =
        requestedId(request.body.id, request.headers['idempotency-key']) ?? newKeyText()
      const id = keyField(context.tenant, idText, 'id')
      const body = createdBody(parts, request.body, idText)
      const outcome = await router.submit(router.shardOf(slotOf(id)), 1, (frame, number) => {
        writeAccountCommand(frame, context, number, { kind: CommandKind.createAccount, id, body })
      })
      const asked = { again: () => ({ id: idText }) }
      const answer = accountReply(replyOf(outcome, asked))
      if (!answer.replayed) router.striped.begin(context.tenant, answer.balance)
      const balance = answer.replayed
        ? await writtenBalance(router, context, id, answer, asked)
        : answer.balance
      if (answer.replayed) void reply.header('idempotent-replayed', 'true')
      void reply.code(answer.replayed ? Status.ok : Status.created)
      return accountAnswer(answer, balance)
    },
  )

  app.get(
    '/v1/accounts/:id',
    {
      schema: {
        summary: 'Read an account',
        operationId: 'readAccount',
        tags: ['accounts'],
        params: Params,
        querystring: Type.Object(
          { minPosition: Type.Optional(MinPosition) },
          { additionalProperties: false },
        ),
        response: accountRead,
      },
    },
    async (request) => {
      const { router } = servingPartsOf(parts)
      const context = contextOf(request)
      const id = keyField(context.tenant, request.params.id, 'id')
      const shard = router.shardOf(slotOf(id))
      const minSeq = await minSeqOf(request.query.minPosition, router, context, { id, shard })
      const outcome = await router.submit(shard, 1, (frame, number) => {
        writeRead(frame, context, number, { kind: CommandKind.readAccount, id, minSeq })
      })
      const answered = outcome.kind === 'unanswered' ? readUnanswered : outcome
      const answer = accountReply(replyOf(answered))
      return accountAnswer(answer, await wholeBalance(router, context, id, answer))
    },
  )

  app.patch(
    '/v1/accounts/:id',
    {
      schema: {
        summary: 'Change limits, metadata or status',
        operationId: 'changeAccount',
        tags: ['accounts'],
        description:
          'Sets the fields that are given. Sending the same change again changes nothing more; ' +
          'with `version` it is refused once somebody else has changed the account.',
        params: Params,
        body: AccountChanges,
        response: accountChanged,
      },
    },
    async (request) => {
      const { router } = servingPartsOf(parts)
      const context = contextOf(request)
      const id = keyField(context.tenant, request.params.id, 'id')
      const body = changeOf(request.body)
      const outcome = await submitChange(router, context, id, body)
      const asked = {
        again: () => ({ id: request.params.id }),
        amountField: () => finestLimit(body),
      }
      const answer = accountReply(replyOf(outcome, asked))
      return accountAnswer(answer, await writtenBalance(router, context, id, answer, asked))
    },
  )
}

function submitChange(router: Router, context: RequestContext, id: Key, body: AccountChange) {
  return router.submit(router.shardOf(slotOf(id)), 1, (frame, number) => {
    writeAccountCommand(frame, context, number, { kind: CommandKind.changeAccount, id, body })
  })
}

/** The balance in the answer to a write: one that has taken effect is never called refused. */
async function writtenBalance(
  router: Router,
  context: RequestContext,
  id: Key,
  answer: AccountReply,
  asked: Asked,
): Promise<BalanceView> {
  try {
    return await wholeBalance(router, context, id, answer)
  } catch (error) {
    if (error instanceof ApiError) throw outcomeUnknown(asked)
    throw error
  }
}

function createdBody(
  parts: ApiParts,
  body: Type.Static<typeof NewAccount>,
  idText: string,
): AccountCreation {
  const scale = parts.currencies.scaleOf(body.currency)
  if (scale === undefined) throw invalidField('currency', 'is not a known currency')
  const created: AccountCreation = { currency: body.currency, scale, class: body.class }
  if (body.striped === true) {
    assertWithoutLimits(body)
    created.striped = true
    created.overdraftLimit = null
  } else if (body.overdraftLimit !== undefined) {
    created.overdraftLimit =
      body.overdraftLimit === 'unlimited'
        ? null
        : minorField(body.overdraftLimit, scale, 'overdraftLimit')
  }
  if (body.minimumBalance !== undefined) {
    created.minimumBalance = minorField(body.minimumBalance, scale, 'minimumBalance')
  }
  if (!isUuid(idText)) created.name = idText
  if (body.type !== undefined) created.type = body.type
  if (body.owner !== undefined) created.owner = body.owner
  if (body.number !== undefined) created.number = body.number
  if (body.metadata !== undefined) created.metadata = metadataField(body.metadata, '')
  return created
}

/** No shard knows the sum of a striped account, so there is nothing to hold a limit against. */
function assertWithoutLimits(body: Type.Static<typeof NewAccount>): void {
  if (body.overdraftLimit !== undefined && body.overdraftLimit !== 'unlimited') {
    throw invalidField('overdraftLimit', 'is not "unlimited"; a striped account has no limits')
  }
  if (body.minimumBalance !== undefined) {
    throw invalidField('minimumBalance', 'is given; a striped account has no limits')
  }
}

function minorField(text: string, scale: number, field: string): bigint {
  const minor = toMinor(decimalField(text, field), scale)
  if (minor === undefined) {
    throw new ApiError('too_many_decimals', `${field} has more than ${scale} decimals`, { field })
  }
  if (minor > limitMax) throw invalidField(field, 'is beyond 64 bits')
  return minor
}

/** A limit and a minimum balance can be added up without leaving 64 bits. */
const limitMax = 2n ** 62n

function changeOf(body: Type.Static<typeof AccountChanges>): AccountChange {
  const change: AccountChange = {}
  if (body.status !== undefined) change.status = body.status
  if (body.overdraftLimit !== undefined) {
    change.overdraftLimit =
      body.overdraftLimit === 'unlimited' ? null : pairOf(body.overdraftLimit, 'overdraftLimit')
  }
  if (body.minimumBalance !== undefined) {
    change.minimumBalance = pairOf(body.minimumBalance, 'minimumBalance')
  }
  if (body.metadata !== undefined) change.metadata = metadataField(body.metadata, '')
  if (body.version !== undefined) change.version = body.version
  return change
}

/** The limit with the more decimals: what a refusal for too many of them is about. */
function finestLimit({ overdraftLimit, minimumBalance }: AccountChange): string {
  const decimals = minimumBalance?.[1] ?? -1
  return decimals > (overdraftLimit?.[1] ?? -1) ? 'minimumBalance' : 'overdraftLimit'
}

function pairOf(text: string, field: string): [bigint, number] {
  const { mantissa, decimals } = decimalField(text, field)
  if (mantissa > limitMax) throw invalidField(field, 'is beyond 64 bits')
  return [mantissa, decimals]
}

function accountAnswer(reply: AccountReply, balance: BalanceView): AccountAnswer {
  const { body } = reply
  const { scale } = balance
  return {
    data: {
      id: balance.account,
      name: body.name,
      currency: balance.currency,
      class: balance.accountClass,
      normalSide: isDebitNormal(accountClasses.indexOf(balance.accountClass)) ? 'debit' : 'credit',
      type: body.type,
      owner: body.owner,
      number: body.number,
      status: balance.status,
      striped: balance.striped || undefined,
      overdraftLimit:
        body.overdraftLimit === null ? 'unlimited' : formatMinor(body.overdraftLimit, scale),
      minimumBalance: formatMinor(body.minimumBalance, scale),
      balances: formatBalance(balance),
      version: balance.version,
      position: formatPosition(balance.stream, balance.seq),
      createdAt: new Date(body.createdAt).toISOString(),
      metadata: body.metadata,
    },
    meta: { position: formatPosition(reply.stream, reply.seq) },
  }
}
