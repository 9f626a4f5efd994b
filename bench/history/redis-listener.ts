import { parentPort, workerData } from 'node:worker_threads'
import { Redis } from 'ioredis'
import { Delays } from './delays.js'
import type { ListenerNews } from './feed-listener.js'

/**
 * Entry of a thread that reads the entries of Redis Streams as they come, and counts how long after
 * its time each posting arrives.
 */
export interface RedisListenerJob {
  url: string
  /** Redis Streams, and the ids after which to begin. */
  streams: [key: string, after: string][]
}

const { url, streams } = workerData as RedisListenerJob
const redis = new Redis(url)
const after = new Map(streams)
const delays = new Delays()
let arrived: number | undefined

setInterval(() => {
  const news: ListenerNews = { arrived: [arrived], counts: delays.counts }
  parentPort?.postMessage(news)
}, 100)

for (;;) {
  const places = [...after.keys(), ...after.values()]
  const found = await redis.xread('COUNT', 1000, 'BLOCK', 100, 'STREAMS', ...places)
  const receivedMs = Date.now()
  arrived ??= 0
  for (const [key, entries] of found ?? []) {
    for (const [id, fields] of entries) {
      after.set(key, id)
      if (fieldOf(fields, 'type') !== 'transaction.posted') continue
      delays.add(receivedMs - Number(fieldOf(fields, 'time')))
      arrived += 1
    }
  }
}

/** Fields and values come in turn. */
function fieldOf(fields: readonly string[], name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1]
  return undefined
}
