import { writeCursor } from '../../src/api/cursor.js'
import { formatKey } from '../../src/key.js'
import { accountKey, firstTimeMs } from '../generated-journal.js'
import type { Latency } from '../load.js'
import { BenchBook } from './book.js'
import { Caller, latencyInTurn, latencyPaced } from './caller.js'
import { atMost, withUnit } from './figure.js'
import type { HistoryBench } from './options.js'

const p99MsTarget = 10
const perSecond = 50
const limit = 100
const tenant = 1
const stream = 1
/** Of the first side of a posting: the busy account is always debited. */
const side = 0
const busyAccount = 0

/** Pages of an account with many entries, between which as many of others lie. */
export async function measurePage(bench: HistoryBench) {
  const { accounts, entries, pages } = bench.options.sizes
  let written = 0
  const pickDebit = () => {
    written += 1
    return written % 2 === 0 ? busyAccount : 1 + Math.floor(Math.random() * (accounts - 1))
  }
  return await BenchBook.use(
    bench,
    (journal) => journal.addPostings(2 * entries, pickDebit),
    async (book) => {
      await book.rebuild()
      await book.check('page')
      /** Seq of a posting that debits the busy account. */
      const seqOf = (number: number) => accounts + 2 * number
      const random = () => seqOf(limit + 1 + Math.floor(Math.random() * (entries - limit)))
      const direct = await latencyInTurn(pages, () => readDirectly(book, random()))
      return await book.serve({}, async (server) => {
        const caller = new Caller(server)
        const read = (seq: number | undefined) => readPage(caller, seq)
        await latencyInTurn(Math.ceil(pages / 10), () => read(random()))
        const inTurn = await latencyInTurn(pages, () => read(random()))
        const first = await latencyInTurn(pages, async () => {
          await read(undefined)
        })
        const paced = await latencyPaced(pages, perSecond, () => read(random()))
        caller.close()
        return [
          figureOf('page at a random cursor, one after the other', inTurn, direct),
          figureOf(`page at a random cursor, ${perSecond}/s`, paced, direct),
          figureOf('first page, one after the other', first),
        ]
      })
    },
  )
}

function figureOf(what: string, latency: Latency, direct?: Latency) {
  const text = ({ p50, p99 }: Latency) => `p50 ${withUnit(p50, 'ms')}, p99 ${withUnit(p99, 'ms')}`
  return atMost(`${what}, p99`, latency.p99, {
    ...{ limit: p99MsTarget, unit: 'ms' },
    beside: `p50 ${withUnit(latency.p50, 'ms')}, max ${withUnit(latency.max, 'ms')}${direct === undefined ? '' : `; one statement over pg ${text(direct)}`}`,
  })
}

/** Reads the page after a posting, or the first; throws if it is not the one that it should be. */
async function readPage(caller: Caller, seq: number | undefined): Promise<void> {
  const id = formatKey(accountKey(busyAccount))
  const cursor =
    seq === undefined
      ? `limit=${limit}`
      : `cursor=${writeCursor({
          route: `entries ${id}`,
          asked: { limit: String(limit) },
          place: [firstTimeMs + seq, stream, seq, side],
        })}`
  const answer = await caller.ask({ method: 'GET', path: `/v1/accounts/${id}/entries?${cursor}` })
  if (answer.status !== 200) throw new Error(`a page was answered ${answer.status} ${answer.body}`)
  const { data }: { data: { position: string }[] } = JSON.parse(answer.body.toString())
  const isWhole = data.length === limit
  // The posting before it is of others, and may credit the account once in a while.
  const next = data[0]?.position
  const isNext = seq === undefined || [1, 2].some((before) => next === `${stream}-${seq - before}`)
  if (!isWhole || !isNext) {
    throw new Error(`the page after ${seq} has ${data.length} entries from ${data[0]?.position} on`)
  }
}

/** What a page needs, in one statement. */
async function readDirectly(book: BenchBook, seq: number): Promise<void> {
  // Without a name, so that it is planned for this account.
  const { rows } = await book.client.query({
    text: `select e.*, t.kind, t.remaining, t.reference, t.description, t.category, t.number, t.code
           from (
             select * from daybook_history.entry
             where tenant = $1 and account = $2 and stream = $3
               and (recorded_at, seq, nr) < ($4, $5, $6)
             order by recorded_at desc, seq desc, nr desc limit ${limit}
           ) e
           join daybook_history.transaction t
             on t.tenant = e.tenant and t.id = e.transaction and t.recorded_at = e.recorded_at
           order by e.recorded_at desc, e.seq desc, e.nr desc`,
    values: [
      ...[tenant, formatKey(accountKey(busyAccount)), stream],
      ...[new Date(firstTimeMs + seq), seq, side],
    ],
  })
  if (rows.length !== limit) throw new Error(`a page has ${rows.length} rows`)
}
