import { Agent, request } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import { formatKey } from '../src/key.js'
import { accountKey } from './generated-journal.js'

/**
 * Entry of a thread that posts at a fixed rate, whether answers come or not: a request that has to
 * wait for the one before it is late, and its latency counts from when it was due. Told to stop, by
 * any message, it awaits the answers that are missing, and ends.
 */
export interface PacedJob {
  port: number
  accounts: number
  perSecond: number
}

/** Requests that ended in some tenth of a second: milliseconds, and how many failed. */
export interface PacedNews {
  /** Milliseconds since 1970. */
  atMs: number
  latenciesMs: number[]
  acknowledged: number
  failed: number
}

const { port, accounts, perSecond } = workerData as PacedJob
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const startedAt = performance.now()
let sent = 0
let ended = 0
let isStopping = false
let news = noNews()

const sender = setInterval(() => {
  const due = ((performance.now() - startedAt) / 1000) * perSecond
  for (; sent < due; sent++) post(startedAt + (sent / perSecond) * 1000)
}, 1)
const reporter = setInterval(() => {
  parentPort?.postMessage(news)
  news = noNews()
  if (!isStopping || ended < sent) return
  clearInterval(reporter)
  agent.destroy()
}, 100)
parentPort?.once('message', () => {
  clearInterval(sender)
  isStopping = true
})

function noNews(): PacedNews {
  return { atMs: Date.now(), latenciesMs: [], acknowledged: 0, failed: 0 }
}

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
      answer.resume()
      answer.once('end', () => {
        ended += 1
        if (answer.statusCode === 201) news.acknowledged += 1
        else news.failed += 1
        news.latenciesMs.push(performance.now() - dueAt)
      })
    },
  )
  outgoing.once('error', () => {
    ended += 1
    news.failed += 1
  })
  outgoing.end(body)
}
