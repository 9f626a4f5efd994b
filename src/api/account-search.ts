import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import type { AccountClass, AccountStatus } from '../actors/accounts.js'
import { type ListedAccount, searchAccounts } from '../history/account-search.js'
import { formatMinor } from '../money.js'
import { shownBalance } from './account-history.js'
import { type ApiParts, contextOf } from './context.js'
import {
  askedPage,
  listMeta,
  nextCursor,
  type Paging,
  readHistory,
  recordPlaceMax,
} from './history-page.js'
import { type AccountList, AccountsQuery } from './history-schemas.js'
import { accountsListed } from './responses.js'

const paging: Paging = { list: 'accounts', schema: AccountsQuery, placeMax: recordPlaceMax }

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
      const { tenant } = contextOf(request)
      const page = askedPage(request, request.query, paging)
      const { owner, number, type, status, class: accountClass, currency } = page.query
      return await readHistory(parts, page.query.minPosition, async (queries) => {
        const [createdMs, stream, seq] = page.after ?? []
        const rows = await searchAccounts(queries, {
          tenant,
          filter: { owner, number, type, status, accountClass, currency },
          ...(page.after === undefined ? {} : { after: { createdMs, stream, seq } }),
          limit: page.limit + 1,
        })
        const places = rows.map(({ createdMs, stream, seq }) => ({
          place: [createdMs, stream, seq],
        }))
        return {
          data: rows.slice(0, page.limit).map(shownAccount),
          meta: { ...listMeta(queries), cursor: nextCursor(paging, page, places) },
        }
      })
    },
  )
}

function shownAccount(account: ListedAccount): Static<typeof AccountList>['data'][number] {
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
