import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { AccountClass } from '../actors/accounts.js'
import { formatDay } from '../clock.js'
import { dailyBalances } from '../history/daily-balances.js'
import { formatKey } from '../key.js'
import { formatMinor } from '../money.js'
import { accountOf, shownBalance } from './account-history.js'
import { type ApiParts, contextOf } from './context.js'
import { invalidField } from './errors.js'
import { dayField } from './history-moment.js'
import { listMeta, readHistory } from './history-page.js'
import { DailyBalancesQuery, daysMax } from './report-schemas.js'
import { dailyBalancesRead } from './responses.js'
import { KeyText } from './schemas.js'
import { keyField } from './transaction-input.js'

/** `/v1/accounts/{id}/balances`: a series of days. */
export const dailyBalanceRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.get(
    '/v1/accounts/:id/balances',
    {
      schema: {
        summary: 'Balances of an account, day by day',
        operationId: 'readDailyBalances',
        tags: ['history'],
        description: 'By effective date, each day with what took effect on it.',
        params: Type.Object({ id: KeyText }),
        querystring: DailyBalancesQuery,
        response: dailyBalancesRead,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const id = formatKey(keyField(tenant, request.params.id, 'id'))
      const { from, to, every = 'day', minPosition } = request.query
      const fromDay = dayField(from, 'from')
      const toDay = dayField(to, 'to')
      if (fromDay > toDay) throw invalidField('to', 'is before `from`')
      if (toDay - fromDay >= daysMax) throw invalidField('to', `gives more than ${daysMax} days`)
      return await readHistory(parts, minPosition, async (queries) => {
        const account = await accountOf(queries, tenant, id)
        const { opening, days } = await dailyBalances(queries, {
          ...{ tenant, account, fromDay, toDay },
        })
        const { currency, scale } = account
        const shown = days.filter(
          ({ debits, credits }) => every === 'day' || debits > 0n || credits > 0n,
        )
        return {
          data: {
            account: id,
            class: account.accountClass as AccountClass,
            currency,
            openingBalance: shownBalance(account, opening),
            days: shown.map(({ day, debits, credits, balance }) => ({
              date: formatDay(day),
              debits: formatMinor(debits, scale),
              credits: formatMinor(credits, scale),
              balance: shownBalance(account, balance),
            })),
          },
          meta: listMeta(queries),
        }
      })
    },
  )
}
