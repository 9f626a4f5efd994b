import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { postBatch } from '../batches.js'
import type { Latency } from '../load.js'
import type { Server } from '../server.js'
import { BenchBook } from './book.js'
import { Caller, latencyInTurn, latencyPaced } from './caller.js'
import { atMost, withUnit } from './figure.js'
import { type NumberedBatch, numberedBatch, numberedJson } from './numbered-transfers.js'
import type { HistoryBench } from './options.js'

const p99MsTarget = 5
const perSecond = 100
const batchSize = 8000
/** No more than there is room for before the oldest have to be let go. */
const newBatchSize = 1000
const refusedPauseMs = 20
/** Ids that stay in memory, beyond which the oldest are let go. */
const transactionsMax = 32_768

/**
 * Retries of ids that have left memory, and what new ones pay for those. Written by one server, and
 * asked of another, which has let them go by the time it serves.
 */
export async function measureOldIds(bench: HistoryBench) {
  const { oldIds, retries, newIds } = bench.options.sizes
  return await BenchBook.use(
    bench,
    async () => undefined,
    async (book) => {
      await book.serve({}, async (server) => {
        await postNumbered(bench, { book, server, from: 0, count: oldIds, batchSize })
        await book.check('old-ids')
      })
      const settings = { DAYBOOK_TRANSACTIONS_MAX: String(transactionsMax) }
      return await book.serve(settings, async (server) => {
        const caller = new Caller(server)
        const isOld = oldIds - transactionsMax
        await book.until('the old ids have been let go', async () => {
          return (await caller.metric('daybook_transactions_let_go')) >= isOld
        })
        // Each is asked for once: after that it is in memory again.
        const numbers = someOf(isOld, 2 * retries)
        const retry = (number: number) => repeat(caller, number, book.accounts)
        const inTurn = await latencyInTurn(retries, (index) => retry(numbers[index]))
        const paced = await latencyPaced(retries, perSecond, (index) =>
          retry(numbers[retries + index]),
        )
        const found = await caller.metric('daybook_old_ids_found')
        if (found < 2 * retries) {
          bench.faults.push(`old-ids: only ${found} of ${2 * retries} old ids were looked up`)
        }
        const newest = oldIds - 1
        const remembered = await latencyInTurn(retries, (index) => retry(newest - index))
        const before = await caller.metric('daybook_old_ids_unused')
        await postNumbered(bench, {
          ...{ book, server, from: oldIds, count: newIds },
          batchSize: newBatchSize,
        })
        const lookedUp = (await caller.metric('daybook_old_ids_unused')) - before
        caller.close()
        await book.check('old-ids')
        return [
          figureOf('retry of an old id, one after the other', inTurn, remembered),
          figureOf(`retry of an old id, ${perSecond}/s`, paced),
          {
            what: 'new v4 ids that had to be looked up',
            measured: `${((lookedUp / newIds) * 100).toFixed(2)} %`,
            beside: `${lookedUp} of ${newIds.toLocaleString('en')}`,
          },
        ]
      })
    },
  )
}

function figureOf(what: string, latency: Latency, remembered?: Latency) {
  const text = ({ p50, p99 }: Latency) => `p50 ${withUnit(p50, 'ms')}, p99 ${withUnit(p99, 'ms')}`
  const own = `p50 ${withUnit(latency.p50, 'ms')}, max ${withUnit(latency.max, 'ms')}`
  return atMost(`${what}, p99`, latency.p99, {
    ...{ limit: p99MsTarget, unit: 'ms' },
    beside: remembered === undefined ? own : `${own}; of an id in memory ${text(remembered)}`,
  })
}

/** Posts numbered transfers, one batch after the other, until all of them are there. */
async function postNumbered(
  { stopping }: HistoryBench,
  of: { book: BenchBook; server: Server; from: number; count: number; batchSize: number },
): Promise<void> {
  const { book, server, from, count, batchSize } = of
  const { host, port } = server
  const target = { host, port, path: '/v1/transactions/batch', format: 'binary' as const }
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let done = 0; done < count; done += batchSize) {
    const batch = numberedBatch(from + done, Math.min(batchSize, count - done), book.accounts)
    for (let isThere = false; !isThere; ) {
      stopping.throwIfAborted()
      const { status, body } = await postBatch(target, agent, batch.buffer)
      if (status !== 200) throw new Error(`a batch was answered ${status} ${body}`)
      book.acknowledge(acceptedOf(body, batch))
      isThere = body.readUInt32LE(12) === batch.amounts.length
      // Where memory is full, postings are refused until the read models have come further.
      if (!isThere) await sleep(refusedPauseMs)
    }
  }
  agent.destroy()
}

/** Without replays: those have been counted before. */
function acceptedOf(answer: Buffer, { amounts }: NumberedBatch) {
  const accepted = amounts.filter((_, index) => answer[16 + 16 * index] === 0)
  return { transfers: accepted.length, amount: accepted.reduce((sum, amount) => sum + amount, 0n) }
}

/** Posts a transfer that is there; throws if the answer is not that it is. */
async function repeat(caller: Caller, number: number, accounts: number): Promise<void> {
  const { status, headers, body } = await caller.ask({
    method: 'POST',
    path: '/v1/transactions',
    body: numberedJson(number, accounts),
  })
  if (status === 200 && headers['idempotent-replayed'] === 'true') return
  throw new Error(`the retry of an old id was answered ${status} ${body}`)
}

/** Different whole numbers below `limit`, in no order. */
function someOf(limit: number, count: number): number[] {
  if (count > limit) throw new Error(`there are no ${count} old ids: ${limit} were let go`)
  const numbers = new Set<number>()
  while (numbers.size < count) numbers.add(Math.floor(Math.random() * limit))
  return [...numbers]
}
