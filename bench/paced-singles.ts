import { Agent, request } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import { formatKey } from '../src/key.js'
import { accountKey } from './generated-journal.js'

/**
 * Entry of a thread that posts at a fixed rate, whether answers come or not: a request that has to
 * wait for the one before it is late, and its latency counts from when it was due.
 */
export interface PacedJob {
  port: number
  accounts: number
  perSecond: number
}

/** Requests that were due in some tenth of a second: milliseconds, and how many failed. */
export interface PacedNews {
  /** Milliseconds since 1970. */
  atMs: number
  latenciesMs: number[]
  failed: number
}

const { port, accounts, perSecond } = workerData as PacedJob
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const startedAt = performance.now()
let sent = 0
let news: PacedNews = { atMs: Date.now(), latenciesMs: [], failed: 0 }

setInterval(() => {
  const due = ((performance.now() - startedAt) / 1000) * perSecond
  for (; sent < due; sent++) post(startedAt + (sent / perSecond) * 1000)
}, 1)
setInterval(() => {
  parentPort?.postMessage(news)
  news = { atMs: Date.now(), latenciesMs: [], failed: 0 }
}, 100)

function post(dueAt: number): void {
  const debit = Math.floor(Math.random() * accounts)
  const credit = (debit + 1) % accounts
  const body = JSON.stringify({
    debit: formatKey(accountKey(debit)),
    credit: formatKey(accountKey(credit)),
    amount: '0.01',
  })
  const outgoing = request(
    {
      ...{ host: '127.0.0.1', port, path: '/v1/transactions', method: 'POST', agent },
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    },
    (answer) => {
      if (answer.statusCode !== 201) news.failed += 1
      answer.resume()
      answer.once('end', () => news.latenciesMs.push(performance.now() - dueAt))
    },
  )
  outgoing.once('error', () => {
    news.failed += 1
  })
  outgoing.end(body)
}
