import Fastify, { type FastifyInstance } from 'fastify'
import { DatabaseError, type Pool } from 'pg'

/** One posting as a client sends it; amounts are decimal text with two decimals. */
interface Transfer {
  id: string
  debit: string
  credit: string
  amount: string
}

const UUID = { type: 'string', pattern: '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$' }
const TRANSFER = {
  type: 'object',
  required: ['id', 'debit', 'credit', 'amount'],
  additionalProperties: false,
  properties: {
    id: UUID,
    debit: UUID,
    credit: UUID,
    amount: { type: 'string', pattern: '^[0-9]{1,15}\\.[0-9]{2}$' },
  },
}
const BALANCE = {
  type: 'object',
  properties: { account: { type: 'string' }, balance: { type: 'string' } },
}
const TRANSFER_ANSWER = {
  type: 'object',
  properties: {
    data: {
      type: 'object',
      properties: {
        id: { type: 'string' },
        debit: { type: 'string' },
        credit: { type: 'string' },
        amount: { type: 'string' },
        balances: { type: 'array', items: BALANCE },
      },
    },
  },
}
const BATCH_ANSWER = {
  type: 'object',
  properties: {
    data: {
      type: 'object',
      properties: {
        results: {
          type: 'array',
          items: {
            type: 'object',
            properties: { id: { type: 'string' }, outcome: { type: 'string' } },
          },
        },
        counts: {
          type: 'object',
          properties: { accepted: { type: 'integer' }, other: { type: 'integer' } },
        },
      },
    },
  },
}
const REFUSAL_STATUS: Record<string, number> = { PE001: 409, PE002: 404, PE003: 422 }
const ITEMS_MAX = 8190
const BODY_BYTES_MAX = 8 * 1024 * 1024

/** The peer's HTTP side: validated and serialised by schema, nothing logged, one round trip. */
export function buildPeer(pool: Pool): FastifyInstance {
  const server = Fastify({ logger: false, bodyLimit: BODY_BYTES_MAX })

  server.setErrorHandler((error, _request, reply) => {
    const status = error instanceof DatabaseError ? (REFUSAL_STATUS[error.code ?? ''] ?? 500) : 400
    const message = error instanceof Error ? error.message : String(error)
    return reply.code(status).send({ error: { message } })
  })

  server.post<{ Body: Transfer }>(
    '/transfers',
    { schema: { body: TRANSFER, response: { '2xx': TRANSFER_ANSWER } } },
    async (request, reply) => {
      const transfer = request.body
      const { rows } = await pool.query<[string, string, string]>({
        name: 'transfer',
        text: 'SELECT outcome, debit_balance, credit_balance FROM transfer($1, $2, $3, $4)',
        values: [transfer.id, transfer.debit, transfer.credit, toMinorUnits(transfer.amount)],
        rowMode: 'array',
      })
      const [outcome, debitBalance, creditBalance] = rows[0]
      reply.code(outcome === 'accepted' ? 201 : 200)
      return {
        data: {
          ...transfer,
          balances: [
            { account: transfer.debit, balance: toDecimal(debitBalance) },
            { account: transfer.credit, balance: toDecimal(creditBalance) },
          ],
        },
      }
    },
  )

  server.post<{ Body: { transactions: Transfer[] } }>(
    '/transfers/batch',
    {
      schema: {
        body: {
          type: 'object',
          required: ['transactions'],
          additionalProperties: false,
          properties: {
            transactions: { type: 'array', minItems: 1, maxItems: ITEMS_MAX, items: TRANSFER },
          },
        },
        response: { 200: BATCH_ANSWER },
      },
    },
    async (request) => {
      const { transactions } = request.body
      const { rows } = await pool.query<[string[]]>({
        name: 'transfer_batch',
        text: 'SELECT transfer_batch($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])',
        values: [
          arrayLiteral(transactions, (item) => item.id),
          arrayLiteral(transactions, (item) => item.debit),
          arrayLiteral(transactions, (item) => item.credit),
          arrayLiteral(transactions, (item) => toMinorUnits(item.amount)),
        ],
        rowMode: 'array',
      })
      const outcomes = rows[0][0]
      const accepted = outcomes.reduce((sum, outcome) => sum + (outcome === 'accepted' ? 1 : 0), 0)
      return {
        data: {
          results: transactions.map((item, index) => ({ id: item.id, outcome: outcomes[index] })),
          counts: { accepted, other: outcomes.length - accepted },
        },
      }
    },
  )
  return server
}

/** A Postgres array, written at once: the driver's own way escapes every element. */
function arrayLiteral(items: readonly Transfer[], text: (item: Transfer) => string): string {
  return `{${items.map(text).join(',')}}`
}

/** The schema has made sure of two decimals, so that dropping the point gives minor units. */
function toMinorUnits(amount: string): string {
  return amount.replace('.', '')
}

function toDecimal(minorUnits: string): string {
  const negative = minorUnits.startsWith('-')
  const digits = (negative ? minorUnits.slice(1) : minorUnits).padStart(3, '0')
  return `${negative ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`
}
