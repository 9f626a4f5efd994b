import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import type { AccountClass, AccountStatus } from '../actors/accounts.js'
import { type ListedAccount, searchAccounts } from '../history/account-search.js'
import { formatMinor } from '../money.js'
import { shownBalance } from './account-history.js'
import { type ApiParts, contextOf } from './context.js'
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
import { AccountRow, AccountSearch, AccountsQuery, alwaysShown } from './history-schemas.js'
import { accountsFound, accountsListed } from './responses.js'
import { asksFor, fieldsAsked, withFields } from './sparse-fields.js'

/** What a search may ask for, in the query or in the body. */
type Search = Omit<Static<typeof AccountSearch>, 'limit'> & { limit?: string | number }

/** `/v1/accounts` as a list: newest first, by what they carry. */
export const accountSearchRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.get(
    '/v1/accounts',
    {
      schema: {
        summary: 'List accounts, newest first',
        operationId: 'listAccounts',
        tags: ['history'],
        querystring: AccountsQuery,
        response: accountsListed,
      },
    },
    async (request) => {
      const paging = { list: 'accounts', schema: AccountsQuery, placeMax: recordPlaceMax }
      return await found(request, paging, askedPage<Search>(request, request.query, paging))
    },
  )

  app.post(
    '/v1/accounts/search',
    {
      schema: {
        summary: 'Search accounts, newest first',
        operationId: 'searchAccounts',
        tags: ['history'],
        body: AccountSearch,
        response: accountsFound,
      },
    },
    async (request) => {
      const paging = { list: 'account search', schema: AccountSearch, placeMax: recordPlaceMax }
      return await found(request, paging, askedPage<Search>(request, request.body, paging))
    },
  )

  async function found(request: FastifyRequest, paging: Paging, page: AskedPage<Search>) {
    const { tenant } = contextOf(request)
    const { owner, number, type, status, class: accountClass, currency } = page.query
    const { namePrefix, metadata, from, to } = page.query
    const fields = fieldsAsked(page.query.fields, AccountRow, alwaysShown.account)
    const filter = {
      ...{ owner, number, type, status, accountClass, currency, namePrefix, metadata },
      ...(from === undefined && to === undefined ? {} : { opened: rangeFields(from, to) }),
    }
    return await readHistory(parts, page.query.minPosition, async (queries) => {
      const [createdMs, stream, seq] = page.after ?? []
      const rows = await searchAccounts(queries, {
        ...{ tenant, filter, limit: page.limit + 1 },
        ...(page.after === undefined ? {} : { after: { createdMs, stream, seq } }),
        withBalances: asksFor(fields, 'balance'),
      })
      const places = rows.map(({ createdMs, stream, seq }) => ({
        place: [createdMs, stream, seq],
      }))
      return {
        data: rows.slice(0, page.limit).map((row) => withFields(shownAccount(row), fields)),
        meta: { ...listMeta(queries), cursor: nextCursor(paging, page, places) },
      }
    })
  }
}

function shownAccount(account: ListedAccount): Static<typeof AccountRow> {
  const { id, name, currency, type, owner, number, scale, overdraftLimit, metadata } = account
  return {
    ...{ id, name, currency, type, owner, number, metadata },
    class: account.accountClass as AccountClass,
    status: account.status as AccountStatus,
    striped: account.striped || undefined,
    overdraftLimit: overdraftLimit === null ? 'unlimited' : formatMinor(overdraftLimit, scale),
    minimumBalance: formatMinor(account.minimumBalance, scale),
    balance: shownBalance(account, account.balance),
    createdAt: new Date(account.createdMs).toISOString(),
  }
}
