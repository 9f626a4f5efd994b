import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import {
  CommandKind,
  type FollowUpInput,
  type RequestContext,
  writeFollowUp,
  writeRead,
  writeTransaction,
} from '../actors/command.js'
import type { Reply } from '../actors/reply.js'
import { type Outcome, readUnanswered } from '../actors/router.js'
import { currencyWords } from '../journal/record.js'
import {
  formatKey,
  isUuid,
  type Key,
  keyFromBytes,
  keyOfFollowUp,
  newKeyText,
  slotOf,
} from '../key.js'
import { normalise } from '../money.js'
import { type ApiParts, contextOf, type ServingParts, servingPartsOf } from './context.js'
import { ApiError, type Asked, invalidField, outcomeUnknown, replyOf } from './errors.js'
import { formatPosition, minSeqOf } from './position.js'
import {
  holdPosted,
  holdVoided,
  transactionPosted,
  transactionRead,
  transactionReversed,
} from './responses.js'
import { FollowUp, HoldPost, KeyText, MinPosition, NewTransaction } from './schemas.js'
import { Status } from './statuses.js'
import {
  attributesOf,
  dayField,
  decimalField,
  keyField,
  requestedId,
  serverMadeKey,
  transactionInput,
} from './transaction-input.js'
import { recordedTransaction, type TransactionView, transactionView } from './transaction-view.js'

const Params = Type.Object({ id: KeyText })

/** `/v1/transactions`: post, read, and what follows a transaction: post, void, reverse. */
export const transactionRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.post(
    '/v1/transactions',
    {
      schema: {
        summary: 'Post a transaction, or place a hold',
        operationId: 'postTransaction',
        tags: ['transactions'],
        body: NewTransaction,
        response: transactionPosted,
      },
    },
    async (request, reply) => {
      const serving = servingPartsOf(parts)
      const context = contextOf(request)
      const id = requestedId(request.body.id, request.headers['idempotency-key'])
      const body = id === request.body.id ? request.body : { ...request.body, id }
      const { router } = serving
      const fallback = serverMadeKey(context.tenant, router.striped)
      const input = transactionInput(context.tenant, body, fallback, '')
      const outcome = await router.submit(router.shardOf(slotOf(input.id)), 1, (frame, number) => {
        writeTransaction(frame, context, number, input)
      })
      const answer = await writtenAnswer(serving, context, outcome, {
        again: () => ({ id: id ?? formatKey(input.id) }),
        amountField: (index) => (body.postings ? `postings/${index}/amount` : 'amount'),
      })
      if (answer.replayed) void reply.header('idempotent-replayed', 'true')
      void reply.code(answer.replayed ? Status.ok : Status.created)
      return answer.body
    },
  )

  app.get(
    '/v1/transactions/:id',
    {
      schema: {
        summary: 'Read a transaction',
        operationId: 'readTransaction',
        tags: ['transactions'],
        params: Params,
        querystring: Type.Object(
          { minPosition: Type.Optional(MinPosition) },
          { additionalProperties: false },
        ),
        response: transactionRead,
      },
    },
    async (request) => {
      const serving = servingPartsOf(parts)
      const context = contextOf(request)
      const id = keyField(context.tenant, request.params.id, 'id')
      const { router } = serving
      const shard = router.shardOf(slotOf(id))
      const minSeq = await minSeqOf(request.query.minPosition, router, context, { id, shard })
      const outcome = await readTransaction(serving, context, id, minSeq)
      return (await transactionAnswer(serving, context, outcome, {})).body
    },
  )

  for (const [name, kind, response, summary] of [
    ['post', CommandKind.postHold, holdPosted, 'Post a hold, whole or in part'],
    ['void', CommandKind.voidHold, holdVoided, 'Void a hold'],
    ['reverse', CommandKind.reverse, transactionReversed, 'Reverse a posted transaction, once'],
  ] as const) {
    app.post(
      `/v1/transactions/:id/${name}`,
      {
        schema: {
          summary,
          operationId: name === 'reverse' ? 'reverseTransaction' : `${name}Hold`,
          tags: ['transactions'],
          params: Params,
          body: kind === CommandKind.postHold ? HoldPost : FollowUp,
          response,
        },
        // These routes mean something without a body, too.
        preValidation: async (request) => {
          request.body ??= {}
        },
      },
      async (request, reply) => {
        const serving = servingPartsOf(parts)
        const context = contextOf(request)
        const body = request.body as Type.Static<typeof HoldPost>
        const idText = requestedId(body.id, request.headers['idempotency-key']) ?? newKeyText()
        const target = keyField(context.tenant, request.params.id, 'id')
        const asked = {
          again: () => ({ id: idText }),
          amountField: (index: number) => amountFieldOf(body, index),
        }
        const input = await followUpInput(serving, context, { kind, target, idText, body, asked })
        const { router } = serving
        const outcome = await router.submit(router.shardOf(slotOf(target)), 1, (frame, number) => {
          writeFollowUp(frame, context, number, input)
        })
        const answer = await writtenAnswer(serving, context, outcome, asked)
        if (answer.replayed) void reply.header('idempotent-replayed', 'true')
        void reply.code(answer.replayed ? Status.ok : Status.created)
        return answer.body
      },
    )
  }
}

function readTransaction(
  { router }: ServingParts,
  context: RequestContext,
  id: Key,
  minSeq: number,
): Promise<Outcome> {
  const shard = router.shardOf(slotOf(id))
  return router
    .submit(shard, 1, (frame, number) => {
      writeRead(frame, context, number, { kind: CommandKind.readTransaction, id, minSeq })
    })
    .then((outcome) => (outcome.kind === 'unanswered' ? readUnanswered : outcome))
}

async function followUpInput(
  serving: ServingParts,
  context: RequestContext,
  request: {
    kind: FollowUpInput['kind']
    target: Key
    idText: string
    body: Type.Static<typeof HoldPost>
    asked: Asked
  },
): Promise<FollowUpInput> {
  const { kind, target, idText, body, asked } = request
  const own = keyField(context.tenant, idText, 'id')
  const attributes = attributesOf(body, '')
  if (!isUuid(idText)) attributes.name = idText
  if (body.amount !== undefined && body.amounts !== undefined) {
    throw invalidField('amounts', 'is given beside amount; use one or the other')
  }
  const texts = body.amounts ?? (body.amount === undefined ? [] : [body.amount])
  const amounts = texts.map((text, index) => decimalField(text, amountFieldOf(body, index)))
  if (amounts.length > 0 && amounts.every((amount) => amount.mantissa === 0n)) {
    throw invalidField('amounts', 'are all zero; void the hold instead')
  }
  return {
    kind,
    id: keyOfFollowUp(context.tenant, target, own),
    target,
    amounts,
    keepRest: body.keepRest === true,
    postings:
      kind === CommandKind.reverse
        ? await swappedPostings(serving, context, target).catch(unknownIfUnavailable(asked))
        : [],
    effectiveDate: dayField(body.effectiveDate, ''),
    attributes,
  }
}

function amountFieldOf(body: Type.Static<typeof HoldPost>, index: number): string {
  return body.amounts ? `amounts/${index}` : 'amount'
}

/**
 * The postings of a reversal. They are read from the journal, as the shard keeps only where the
 * record is; a posted transaction's postings never change, so there is no race.
 */
async function swappedPostings(
  serving: ServingParts,
  context: RequestContext,
  target: Key,
): Promise<FollowUpInput['postings']> {
  const reply = replyOf(await readTransaction(serving, context, target, 0))
  if (reply.kind !== 'transaction') throw new Error(`a shard answered ${reply.kind} for a read`)
  const { body } = recordedTransaction(await readRecord(serving, reply))
  return body.postings
    .filter(([, , amount]) => amount > 0n)
    .map(([debit, credit, amount, currency, scale]) => ({
      debit: keyFromBytes(credit, 0),
      credit: keyFromBytes(debit, 0),
      amount: normalise(amount, scale),
      currency: currencyWords(currency),
    }))
}

/** The record that holds the transaction; it may be in another stream than the id's shard. */
async function readRecord(
  { journal }: ServingParts,
  { stream, body }: TransactionReply,
): Promise<Uint32Array> {
  try {
    return await journal.readRecord(body.recordStream || stream, body.recordSeq)
  } catch (error) {
    throw new ApiError(
      'journal_unavailable',
      `the journal cannot be read at the moment (${(error as Error).name})`,
    )
  }
}

type TransactionReply = Extract<Reply, { kind: 'transaction' }>

interface TransactionAnswer {
  replayed: boolean
  body: { data: TransactionView; meta: { position: string } }
}

/** The answer to a write. One that has taken effect and cannot be shown is never called refused. */
async function writtenAnswer(
  serving: ServingParts,
  context: RequestContext,
  outcome: Outcome,
  asked: Asked,
): Promise<TransactionAnswer> {
  const answer = transactionAnswer(serving, context, outcome, asked)
  return await (outcome.kind === 'transaction' ? answer.catch(unknownIfUnavailable(asked)) : answer)
}

/** For what may have taken effect before: that it cannot be looked up does not make it refused. */
function unknownIfUnavailable(asked: Asked): (error: unknown) => never {
  return (error) => {
    const isUnavailable = error instanceof ApiError && error.code === 'journal_unavailable'
    throw isUnavailable ? outcomeUnknown(asked) : error
  }
}

/** The view of what a shard answered; a transaction that is not new is read from the journal. */
async function transactionAnswer(
  serving: ServingParts,
  context: RequestContext,
  outcome: Outcome,
  asked: Asked,
): Promise<TransactionAnswer> {
  const reply: Reply = replyOf(outcome, asked)
  if (reply.kind === 'accepted') {
    const { striped } = serving.router
    const balances = reply.balances
      .map((view) => striped.sum(context.tenant, view))
      .filter((view) => view !== undefined)
    return {
      replayed: false,
      body: {
        data: transactionView(reply.record, reply.state, { balances }),
        meta: { position: formatPosition(reply.stream, reply.seq) },
      },
    }
  }
  if (reply.kind !== 'transaction') {
    throw new Error(`a shard answered ${reply.kind} for a transaction`)
  }
  const { recordStream, recordSeq, remaining, replayed } = reply.body
  const words = await readRecord(serving, reply)
  if (!serving.router.isValid(reply)) {
    throw new ApiError('journal_unavailable', 'the state that was read is too old to be shown')
  }
  const position = replayed
    ? formatPosition(recordStream || reply.stream, recordSeq)
    : formatPosition(reply.stream, reply.seq)
  return {
    replayed,
    body: { data: transactionView(words, reply.state, { remaining }), meta: { position } },
  }
}
