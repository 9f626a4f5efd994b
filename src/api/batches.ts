import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { Packr } from 'msgpackr'
import { Type } from 'typebox'
import type { RequestContext, TransactionInput } from '../actors/command.js'
import { refusalOf } from '../actors/refusals.js'
import { batchItemBytes } from '../actors/reply.js'
import { formatKey, type Key, keyOfBatchItem } from '../key.js'
import { type BatchOutcome, runBatch } from './batch-run.js'
import {
  type BatchInput,
  binaryAnswer,
  binaryAnswerType,
  binaryRequestType,
} from './binary-batch.js'
import { acceptBatches, msgpackType, ndjsonType, ParsedBinaryBatch } from './bodies.js'
import { type ApiParts, contextOf, servingPartsOf } from './context.js'
import { ApiError } from './errors.js'
import { formatPosition } from './position.js'
import { batchPosted } from './responses.js'
import { NewBatch } from './schemas.js'
import { errorKinds } from './statuses.js'
import {
  keyField,
  type NameFallback,
  requestedId,
  serverMadeKey,
  transactionInput,
} from './transaction-input.js'

/** Bytes of a batch's body. */
const batchBytesMax = 48 * 1024 * 1024

const flag = Type.Optional(Type.Enum(['true', 'false'] as const))
const Options = Type.Object({ atomic: flag, ordered: flag }, { additionalProperties: false })

/** `/v1/transactions/batch`: many transactions in one request, with a result for each. */
export const batchRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  acceptBatches(app)
  app.post(
    '/v1/transactions/batch',
    {
      bodyLimit: batchBytesMax,
      schema: {
        summary: 'Post up to 8,190 transactions',
        operationId: 'postBatch',
        tags: ['transactions'],
        description:
          'JSON, NDJSON (one transaction a line; options in the query), msgpack (as JSON), or the ' +
          'binary form of docs/binary-batch.md. The answer follows Accept. Items without an id are ' +
          'named by the header Idempotency-Key and their index.',
        querystring: Options,
        body: {
          content: {
            'application/json': { schema: NewBatch },
            [ndjsonType]: { schema: NewBatch },
            [msgpackType]: { schema: NewBatch },
            // The binary form is checked while it is read.
            [binaryRequestType]: { schema: Type.Unknown() },
          },
        },
        response: batchPosted,
      },
    },
    async (request, reply) => {
      const { router } = servingPartsOf(parts)
      const context = contextOf(request)
      const batchKey = requestedId(undefined, request.headers['idempotency-key'])
      const body = request.body as unknown
      const named =
        body instanceof ParsedBinaryBatch
          ? body.batch
          : batchInput(
              context,
              body as Type.Static<typeof NewBatch>,
              batchKey,
              serverMadeKey(context.tenant, router.striped),
            )
      const batch = {
        transactions: named.transactions,
        atomic: named.atomic || request.query.atomic === 'true',
        ordered: named.ordered || request.query.ordered === 'true',
      }
      const ids = batch.transactions.map((transaction) => transaction.id)
      assertDistinct(ids)
      const answer = await runBatch(router, context, batch, {
        again: () => (batchKey === undefined ? { ids: ids.map(formatKey) } : { id: batchKey }),
      })
      await sendAnswer(reply as FastifyReply, request.headers.accept, answer, ids)
    },
  )
}

function batchInput(
  context: RequestContext,
  body: Type.Static<typeof NewBatch>,
  batchKey: string | undefined,
  unnamed: NameFallback,
): BatchInput {
  const key =
    batchKey === undefined ? undefined : keyField(context.tenant, batchKey, 'Idempotency-Key')
  const transactions: TransactionInput[] = body.transactions.map((transaction, index) =>
    transactionInput(
      context.tenant,
      transaction,
      key === undefined ? unnamed : () => keyOfBatchItem(context.tenant, key, index),
      `transactions/${index}/`,
    ),
  )
  return { transactions, atomic: body.atomic === true, ordered: body.ordered === true }
}

/** Two items of one id cannot both be meant. */
function assertDistinct(ids: readonly Key[]): void {
  const seen = new Map<number, number[]>()
  for (const [index, id] of ids.entries()) {
    const hash = id.w0 ^ Math.imul(id.w1, 0x9e3779b1) ^ Math.imul(id.w2, 0x85ebca77) ^ id.w3
    const candidates = seen.get(hash)
    if (candidates === undefined) {
      seen.set(hash, [index])
      continue
    }
    const twin = candidates.find((other) => sameId(ids[other], id))
    if (twin !== undefined) {
      throw new ApiError(
        'duplicate_id',
        `transactions/${index}/id is that of transactions/${twin}`,
        {
          field: `transactions/${index}/id`,
          index,
          first: twin,
        },
      )
    }
    candidates.push(index)
  }
}

function sameId(a: Key, b: Key): boolean {
  return a.w0 === b.w0 && a.w1 === b.w1 && a.w2 === b.w2 && a.w3 === b.w3
}

const packr = new Packr({ useRecords: false })

async function sendAnswer(
  reply: FastifyReply,
  accept: string | undefined,
  answer: BatchOutcome,
  ids: readonly Key[],
): Promise<void> {
  if (accept?.includes(binaryAnswerType) === true) {
    await reply.type(binaryAnswerType).send(binaryAnswer(answer.items))
    return
  }
  const results = resultsOf(answer.items, ids)
  if (accept?.includes(ndjsonType) === true) {
    const lines = results.map((result) => JSON.stringify(result)).join('\n')
    await reply.type(ndjsonType).send(`${lines}\n`)
    return
  }
  const counts = { accepted: 0, replayed: 0, refused: 0 }
  for (const { outcome } of results) counts[outcome] += 1
  const body = {
    data: { results, counts },
    meta: { positions: answer.positions.map(({ stream, seq }) => formatPosition(stream, seq)) },
  }
  if (accept?.includes(msgpackType) === true) {
    await reply.type(msgpackType).send(packr.pack(body))
  } else {
    await reply.send(body)
  }
}

const outcomes = ['accepted', 'replayed', 'refused'] as const

interface BatchItemResult {
  id: string
  outcome: (typeof outcomes)[number]
  position?: string
  error?: { code: string; message: string; transient: boolean }
}

function resultsOf(items: Buffer, ids: readonly Key[]): BatchItemResult[] {
  return ids.map((key, index) => {
    const at = index * batchItemBytes
    const outcome = outcomes[items[at]]
    const id = formatKey(key)
    if (outcome === 'refused') {
      const { code, message } = refusalOf(items.readUInt16LE(at + 2))
      return { id, outcome, error: { code, message, transient: errorKinds[code].transient } }
    }
    const seq = items.readUInt32LE(at + 12) * 2 ** 32 + items.readUInt32LE(at + 8)
    return { id, outcome, position: formatPosition(items.readUInt32LE(at + 4), seq) }
  })
}
