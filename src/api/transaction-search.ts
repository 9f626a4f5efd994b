import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { TransactionState } from '../actors/transactions.js'
import { parseDay } from '../clock.js'
import {
  type HistoryTransactionView,
  readTransactions,
  type TransactionFilter,
} from '../history/transaction-history.js'
import { RecordKind } from '../journal/record.js'
import { transactionType } from '../journal/transaction-type.js'
import { formatKey } from '../key.js'
import { formatMinor, toMinor } from '../money.js'
import { type ApiParts, contextOf } from './context.js'
import { ApiError, invalidField } from './errors.js'
import { rangeFields } from './history-moment.js'
import {
  type AskedPage,
  askedPage,
  listMeta,
  nextCursor,
  type Paging,
  readHistory,
  recordPlaceMax,
} from './history-page.js'
import {
  alwaysShown,
  ListedTransaction,
  TransactionSearch,
  TransactionsQuery,
} from './history-schemas.js'
import { transactionsFound, transactionsListed } from './responses.js'
import { fieldsAsked, withFields } from './sparse-fields.js'
import { decimalField, keyField } from './transaction-input.js'
import { shownStatus, type TransactionView } from './transaction-view.js'

/** What a search may ask for, in the query or in the body. */
type Search = Omit<Static<typeof TransactionSearch>, 'limit' | 'code'> & {
  limit?: string | number
  code?: string | number
}

/** `/v1/transactions` as a list: newest first, by what they carry. */
export const transactionSearchRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.get(
    '/v1/transactions',
    {
      schema: {
        summary: 'List transactions, newest first',
        operationId: 'listTransactions',
        tags: ['history'],
        querystring: TransactionsQuery,
        response: transactionsListed,
      },
    },
    async (request) => {
      const paging = { list: 'transactions', schema: TransactionsQuery, placeMax: recordPlaceMax }
      return await found(parts, request, paging, askedPage<Search>(request, request.query, paging))
    },
  )

  app.post(
    '/v1/transactions/search',
    {
      schema: {
        summary: 'Search transactions, newest first',
        operationId: 'searchTransactions',
        tags: ['history'],
        body: TransactionSearch,
        response: transactionsFound,
      },
    },
    async (request) => {
      const paging = { list: 'search', schema: TransactionSearch, placeMax: recordPlaceMax }
      return await found(parts, request, paging, askedPage<Search>(request, request.body, paging))
    },
  )

  async function found(
    parts: ApiParts,
    request: FastifyRequest,
    paging: Paging,
    page: AskedPage<Search>,
  ) {
    const { tenant } = contextOf(request)
    const filter = filterOf(parts, tenant, page.query)
    const fields = fieldsAsked(page.query.fields, ListedTransaction, alwaysShown.transaction)
    return await readHistory(parts, page.query.minPosition, async (queries) => {
      const [timeMs, stream, seq] = page.after ?? []
      const rows = await readTransactions(queries, {
        ...{ tenant, filter, limit: page.limit + 1 },
        ...(page.after === undefined ? {} : { after: { timeMs, stream, seq } }),
      })
      const places = rows.map(({ timeMs, stream, seq }) => ({ place: [timeMs, stream, seq] }))
      return {
        data: rows.slice(0, page.limit).map((row) => withFields(shownTransaction(row), fields)),
        meta: { ...listMeta(queries), cursor: nextCursor(paging, page, places) },
      }
    })
  }
}

function filterOf(parts: ApiParts, tenant: number, asked: Search): TransactionFilter {
  const { account, reference, category, number, code, from, to, status, type, metadata } = asked
  return {
    account: account && formatKey(keyField(tenant, account, 'account')),
    ...{ reference, category, number, metadata },
    code: code === undefined ? undefined : Number(code),
    recorded: rangeFields(from, to),
    effective: {
      from: asked.effectiveFrom && checkedDay(asked.effectiveFrom, 'effectiveFrom'),
      to: asked.effectiveTo && checkedDay(asked.effectiveTo, 'effectiveTo'),
    },
    amount: amountFilter(parts, asked),
    states: status && statesOf[status],
    ...(type === undefined ? {} : kindsOf[type]),
  }
}

function checkedDay(text: string, field: string): string {
  if (parseDay(text) === undefined) throw invalidField(field, 'is no date that there is')
  return text
}

function amountFilter(parts: ApiParts, asked: Search): TransactionFilter['amount'] {
  const { currency, amountFrom, amountTo } = asked
  if (currency === undefined) {
    if (amountFrom === undefined && amountTo === undefined) return undefined
    throw invalidField('currency', 'is missing: amounts are compared within one currency')
  }
  const scale = parts.currencies.scaleOf(currency)
  if (scale === undefined) throw invalidField('currency', 'is not a known currency')
  const minor = (text: string | undefined, field: string) => {
    if (text === undefined) return undefined
    const amount = toMinor(decimalField(text, field), scale)
    if (amount !== undefined) return amount
    throw new ApiError('too_many_decimals', `${field} has more than ${scale} decimals`, { field })
  }
  return {
    currency,
    atLeast: minor(amountFrom, 'amountFrom'),
    atMost: minor(amountTo, 'amountTo'),
  }
}

const statesOf: Record<NonNullable<Search['status']>, number[]> = {
  posted: [
    TransactionState.posted,
    TransactionState.holdPosted,
    TransactionState.holdPost,
    TransactionState.holdVoid,
    TransactionState.reversal,
  ],
  pending: [TransactionState.pending],
  voided: [TransactionState.holdVoided],
  expired: [TransactionState.holdExpired],
  reversed: [TransactionState.reversed],
}

const kindsOf: Record<NonNullable<Search['type']>, Pick<TransactionFilter, 'kinds' | 'isHold'>> = {
  transaction: { kinds: [RecordKind.posting, RecordKind.transaction], isHold: false },
  hold: { kinds: [RecordKind.transaction], isHold: true },
  post: { kinds: [RecordKind.holdPosted] },
  void: { kinds: [RecordKind.holdVoided] },
  reversal: { kinds: [RecordKind.reversal] },
}

function shownTransaction(row: HistoryTransactionView): TransactionView {
  const { id, name, kind, state, target, effectiveDate, imported, remaining } = row
  const { code, reference, description, category, number, metadata } = row
  return {
    ...{ id, name },
    type: transactionType(kind as RecordKind, remaining !== undefined),
    status: shownStatus(state),
    target,
    postings: row.postings.map(({ debit, credit, amount, currency, scale }) => ({
      ...{ debit, credit, amount: formatMinor(amount, scale), currency },
    })),
    effectiveDate,
    expiresAt: row.expiresAtMs && new Date(row.expiresAtMs).toISOString(),
    remaining: remaining?.map((amount, index) => formatMinor(amount, row.postings[index].scale)),
    imported: imported || undefined,
    recordedAt: new Date(row.timeMs).toISOString(),
    ...{ code, reference, description, category, number, metadata },
  } as TransactionView
}
