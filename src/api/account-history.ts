import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import type { AccountClass } from '../actors/accounts.js'
import {
  type AccountEntry,
  effectiveBalance,
  findAccount,
  type HistoryAccount,
  readEntries,
  recordedBalance,
} from '../history/account-history.js'
import { accountStatement, onNormalSide } from '../history/account-statement.js'
import type { HistoryQueries } from '../history/history-pool.js'
import { statementFormats } from '../history/statements/statement-formats.js'
import { formatKey } from '../key.js'
import { formatMinor } from '../money.js'
import { type ApiParts, contextOf } from './context.js'
import { ApiError, invalidField } from './errors.js'
import { dayField, momentField, rangeFields } from './history-moment.js'
import {
  askedPage,
  listMeta,
  nextCursor,
  type Paging,
  readHistory,
  recordPlaceMax,
} from './history-page.js'
import {
  alwaysShown,
  BalanceQuery,
  EntriesQuery,
  Entry,
  StatementQuery,
} from './history-schemas.js'
import { formatPosition } from './position.js'
import { balanceAt, entriesRead, statementRead } from './responses.js'
import { KeyText } from './schemas.js'
import { asksFor, fieldsAsked, withFields } from './sparse-fields.js'
import { keyField } from './transaction-input.js'

const Params = Type.Object({ id: KeyText })
/** Of an entry: they are looked up in its transaction. */
const ofTransaction = ['type', 'reference', 'description', 'category', 'number', 'code']
/** Of a record: a smallint of its entries. */
const sidesMax = 32_767

/** `/v1/accounts/{id}/…`: what has moved on an account, and what it held at a moment. */
export const accountHistoryRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.get(
    '/v1/accounts/:id/entries',
    {
      schema: {
        summary: 'List what has moved on an account',
        operationId: 'listEntries',
        tags: ['history'],
        description:
          'Each entry with the balance after it, in recorded order. Those of a striped account ' +
          'are in the order of their times, then of their streams.',
        params: Params,
        querystring: EntriesQuery,
        response: entriesRead,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const id = formatKey(keyField(tenant, request.params.id, 'id'))
      const placeMax = [...recordPlaceMax, sidesMax]
      const paging: Paging = { list: `entries ${id}`, schema: EntriesQuery, placeMax }
      const page = askedPage(request, request.query, paging)
      const { from, to, order, minPosition } = page.query
      const range = rangeFields(from, to)
      const fields = fieldsAsked(page.query.fields, Entry, alwaysShown.entry)
      return await readHistory(parts, minPosition, async (queries) => {
        const account = await accountOf(queries, tenant, id)
        const [timeMs, stream, seq, nr] = page.after ?? []
        const entries = await readEntries(queries, {
          ...{ tenant, account, ...range },
          ...(page.after === undefined ? {} : { after: { timeMs, stream, seq, nr } }),
          descending: order !== 'asc',
          limit: page.limit + 1,
          withTransactions: asksFor(fields, ...ofTransaction),
        })
        const shown = entries.slice(0, page.limit)
        const places = entries.map(({ place }) => ({
          place: [place.timeMs, place.stream, place.seq, place.nr],
        }))
        return {
          data: shown.map((entry) => withFields(shownEntry(account, entry), fields)),
          meta: { ...listMeta(queries), cursor: nextCursor(paging, page, places) },
        }
      })
    },
  )

  app.get(
    '/v1/accounts/:id/balance',
    {
      schema: {
        summary: 'Read what an account held at a moment',
        operationId: 'readBalanceAt',
        tags: ['history'],
        params: Params,
        querystring: BalanceQuery,
        response: balanceAt,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const id = formatKey(keyField(tenant, request.params.id, 'id'))
      const { at, minPosition } = request.query
      const { day, beforeMs } = momentField(at, 'at')
      return await readHistory(parts, minPosition, async (queries) => {
        const account = await accountOf(queries, tenant, id)
        const balance =
          day === undefined
            ? await recordedBalance(queries, { tenant, account, beforeMs })
            : await effectiveBalance(queries, { tenant, account, day })
        return {
          data: {
            account: id,
            class: account.accountClass as AccountClass,
            currency: account.currency,
            balance: shownBalance(account, balance),
            at,
            by: day === undefined ? ('recorded' as const) : ('effective' as const),
          },
          meta: listMeta(queries),
        }
      })
    },
  )

  app.get(
    '/v1/accounts/:id/statement',
    {
      schema: {
        summary: 'Statement of an account',
        operationId: 'readStatement',
        tags: ['history'],
        description:
          'What was recorded from day to day (UTC), with opening and closing balance, as JSON, CSV, ' +
          'camt.053.001.08 or PDF. It is streamed: one that breaks off is not whole.',
        params: Params,
        querystring: StatementQuery,
        response: statementRead,
      },
    },
    async (request, reply) => {
      const { tenant } = contextOf(request)
      const id = formatKey(keyField(tenant, request.params.id, 'id'))
      const { from, to, format = 'json', minPosition } = request.query
      const fromDay = dayField(from, 'from')
      const toDay = dayField(to, 'to')
      if (fromDay > toDay) throw invalidField('to', 'is before `from`')
      const statement = await readHistory(parts, minPosition, async (queries, pool) =>
        accountStatement(pool, queries, {
          ...{ tenant, fromDay, toDay },
          account: await accountOf(queries, tenant, id),
          servicer: parts.servicer,
          createdAtMs: parts.clock.now(),
        }),
      )
      const { contentType, fileExtension, write } = statementFormats[format]
      const file = `statement-${from}-${to}${fileExtension}`
      void reply.header('content-type', contentType)
      void reply.header('content-disposition', `attachment; filename="${file}"`)
      // Pieces are text or bytes; in object mode a stream would not count their length.
      const pieces = Readable.from(bytesOf(write(statement)), { objectMode: false })
      return await reply.send(pieces)
    },
  )
}

async function* bytesOf(pieces: AsyncIterable<Buffer | string>): AsyncIterable<Buffer> {
  for await (const piece of pieces) yield Buffer.from(piece as string)
}

/** The account of a path; throws `account_not_found`. */
export async function accountOf(
  queries: HistoryQueries,
  tenant: number,
  id: string,
): Promise<HistoryAccount> {
  const account = await findAccount(queries, tenant, id)
  if (account === undefined) {
    throw new ApiError('account_not_found', 'there is no such account', { field: 'id' })
  }
  return account
}

function shownEntry(account: HistoryAccount, entry: AccountEntry): Static<typeof Entry> {
  const { place, amount, transaction, counterAccount, effectiveDate, about } = entry
  return {
    position: formatPosition(place.stream, place.seq),
    ...{ transaction, counterAccount, effectiveDate },
    side: amount > 0n ? 'debit' : 'credit',
    amount: formatMinor(amount > 0n ? amount : -amount, account.scale),
    currency: account.currency,
    balance: shownBalance(account, entry.balance),
    recordedAt: new Date(place.timeMs).toISOString(),
    ...about,
  }
}

/** Debits less credits, on the account's normal side. */
export function shownBalance(
  { accountClass, scale }: Pick<HistoryAccount, 'accountClass' | 'scale'>,
  balance: bigint,
): string {
  return formatMinor(onNormalSide({ accountClass }, balance), scale)
}
