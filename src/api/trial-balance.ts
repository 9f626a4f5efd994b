import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { cutAt, faultOf, newestPosition, positionUntil, readHeads } from '../history/book-cut.js'
import type { Positions } from '../history/history-pool.js'
import { type ReportPlace, readAccountSums, readInFlight } from '../history/trial-balance.js'
import { readGroups } from '../history/trial-balance-groups.js'
import { ArchiveFault } from '../journal/archive-segment.js'
import {
  type BookPosition,
  formatBookPosition,
  parseBookPosition,
} from '../journal/book-position.js'
import { type ApiParts, contextOf, servingPartsOf } from './context.js'
import { ApiError, invalidField } from './errors.js'
import { momentField } from './history-moment.js'
import {
  type AskedPage,
  askedPage,
  nextCursor,
  type Paging,
  readHistory,
  recordPlaceMax,
} from './history-page.js'
import { TrialBalanceQuery } from './report-schemas.js'
import { trialBalanceRead } from './responses.js'
import { SettledPositions } from './settled-position.js'
import { shownAccounts, shownGroups } from './trial-balance-view.js'

const paging: Paging = {
  list: 'trial-balance',
  schema: TrialBalanceQuery,
  placeMax: recordPlaceMax,
}

type Query = Static<typeof TrialBalanceQuery>

/** A report at a book position: it says the same for ever. */
interface Report extends ReportPlace {
  /** How far the read models must be. */
  needed: Positions
}

/** `/v1/reports/…`: what the whole book says at one position. */
export const trialBalanceRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  const settled = new SettledPositions()
  app.get(
    '/v1/reports/trial-balance',
    {
      schema: {
        summary: 'Trial balance at a book position',
        operationId: 'readTrialBalance',
        tags: ['history'],
        description:
          'What was posted on all accounts up to a book position, at which the books balance: a ' +
          'transaction counts whole or not at all. Without `at` it is where the book is now. The ' +
          'position in the answer, given as `at`, gives the same answer for ever.',
        querystring: TrialBalanceQuery,
        response: trialBalanceRead,
      },
    },
    async (request) => {
      const page = askedPage<Query>(request, request.query, paging)
      const report = await reportAt(parts, settled, request, page.query.at)
      const { by = 'account' } = page.query
      if (by === 'account') return await accountPage(parts, report, page)
      const groups = await readGroups(report, by, {
        read: (work) => readHistory(parts, report.needed, work),
        // Once the client is gone, nobody waits for the rest.
        goesOn: () => !request.raw.socket.destroyed,
      })
      if (groups === 'too_many') {
        throw invalidField('by', 'gives too many rows: ask by account, page by page')
      }
      const position = formatBookPosition(report.cut.position)
      return { data: shownGroups(groups), meta: { position } }
    },
  )
}

async function reportAt(
  parts: ApiParts,
  settled: SettledPositions,
  request: FastifyRequest,
  at: string | undefined,
): Promise<Report> {
  const context = contextOf(request)
  const { tenant } = context
  const { journal } = servingPartsOf(parts)
  const heads = await readHistory(parts, undefined, readHeads)
  const cut = await cutAt(journal, heads, await askedPosition())
  const needed = await settled.neededFor(parts, context, cut)
  return await readHistory(parts, needed, async (queries) => {
    if (!cut.closed) settled.note(cut.position, needed)
    const inFlight = await readInFlight(queries, { tenant, cut })
    if (inFlight === 'not_closed') {
      throw invalidField('at', 'has something applied whose cause is beyond it: it is no position')
    }
    if (inFlight === 'too_many') {
      throw invalidField('at', 'leaves too much under way: its streams are too far apart')
    }
    return { tenant, cut, needed, inFlight }
  })

  async function askedPosition(): Promise<BookPosition> {
    if (at === undefined) return newestPosition(heads)
    const named = parseBookPosition(at)
    if (named === undefined) {
      const { beforeMs } = momentField(at, 'at')
      return await positionUntil(journal, heads, beforeMs - 1).catch(rethrowArchived)
    }
    const fault = faultOf(named, heads)
    if (fault !== undefined) throw invalidField('at', fault)
    return named
  }
}

async function accountPage(parts: ApiParts, report: Report, page: AskedPage<Query>) {
  const [createdMs, stream, seq] = page.after ?? []
  const accounts = await readHistory(parts, report.needed, (queries) =>
    readAccountSums(queries, {
      ...report,
      after: page.after === undefined ? undefined : { createdMs, stream, seq },
      limit: page.limit + 1,
    }),
  )
  const position = formatBookPosition(report.cut.position)
  const places = accounts.map(({ place }) => ({
    place: [place.createdMs, place.stream, place.seq],
  }))
  // The next page is of the same position.
  const asked = { ...page, query: { ...page.query, at: position } }
  return {
    data: shownAccounts(accounts.slice(0, page.limit)),
    meta: { position, cursor: nextCursor(paging, asked, places) },
  }
}

function rethrowArchived(error: Error): never {
  if (!(error instanceof ArchiveFault)) throw error
  throw new ApiError(
    'history_unavailable',
    'the journal of that time is in the archive, which this server has no way to; name a position',
  )
}
