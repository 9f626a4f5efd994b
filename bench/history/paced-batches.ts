import { Agent } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import { type Outcome, postBatch, readBinary } from '../batches.js'
import { IdSource } from '../ids.js'
import { Draw } from '../spread.js'
import { BatchBody } from '../transfers.js'
import { accountSet } from './book.js'

/**
 * Entry of a thread that posts binary batches between any two accounts at a fixed rate, whether
 * answers come or not, and then awaits all answers: latency counts from when a batch was due.
 */
export interface PacedBatchesJob {
  port: number
  accounts: number
  batchSize: number
  batchesPerSecond: number
  batches: number
}

export interface PacedBatchesResult {
  transfers: number
  /** Minor units. */
  amount: bigint
  /** Transfers that were refused, or whose answer was another than a 200 or never came. */
  failed: number
  latenciesMs: Float64Array
  /** From when the first was due to the last answer. */
  seconds: number
}

/** Built before the first is due, so that many accounts are met and nothing has to be built later. */
const bodiesInitial = 500

const { port, accounts, batchSize, batchesPerSecond, batches } = workerData as PacedBatchesJob
const target = {
  ...{ host: '127.0.0.1', port, path: '/v1/transactions/batch' },
  format: 'binary' as const,
}
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const set = accountSet(accounts)
const draw = new Draw(set, 'uniform')
const source = new IdSource()
const free = Array.from({ length: Math.min(bodiesInitial, batches) }, newBody)
const result: PacedBatchesResult = {
  ...{ transfers: 0, amount: 0n, failed: 0, seconds: 0 },
  latenciesMs: new Float64Array(batches),
}
const startedAt = performance.now()
let sent = 0
let ended = 0

const sender = setInterval(() => {
  const due = Math.min(batches, ((performance.now() - startedAt) / 1000) * batchesPerSecond)
  for (; sent < due; sent++) void send(startedAt + (sent / batchesPerSecond) * 1000)
}, 1)

async function send(dueAt: number): Promise<void> {
  const body = free.shift() ?? newBody()
  body.renew()
  const outcome = await ask(body)
  result.latenciesMs[ended] = performance.now() - dueAt
  result.transfers += outcome.transfers
  result.amount += outcome.amount
  result.failed += batchSize - outcome.transfers
  free.push(body)
  ended += 1
  if (ended < batches) return
  result.seconds = (performance.now() - startedAt) / 1000
  clearInterval(sender)
  agent.destroy()
  parentPort?.postMessage(result)
}

async function ask(body: BatchBody): Promise<Outcome> {
  try {
    const { status, body: answer } = await postBatch(target, agent, body.buffer)
    if (status === 200) return readBinary(answer, body)
  } catch {
    // It has failed, as one with another status has.
  }
  return { transfers: 0, amount: 0n }
}

function newBody(): BatchBody {
  return new BatchBody(set, draw, source, 'binary', batchSize)
}
