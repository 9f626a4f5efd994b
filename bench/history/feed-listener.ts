import { get } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import { Delays } from './delays.js'

/**
 * Entry of a thread that listens to `GET /v1/feed` over some connections, and counts how long after
 * its time each posting arrives on each of them. Sends {@link ListenerNews} ten times a second.
 */
export interface FeedListenerJob {
  port: number
  listeners: number
}

/** Also what the listener of Redis sends. */
export interface ListenerNews {
  /** Of each listener, postings that have arrived; undefined while it does not listen yet. */
  arrived: (number | undefined)[]
  /** Of all listeners together, by milliseconds. */
  counts: Float64Array
  /** Why it cannot listen. */
  failure?: string
}

const { port, listeners } = workerData as FeedListenerJob
const posted = 'event: transaction.posted\n'
const timeField = '"time":"'
const timeLength = 24
const arrived: (number | undefined)[] = Array.from({ length: listeners }, () => undefined)
const delays = new Delays()
let lastTime = ''
let lastTimeMs = 0

for (let listener = 0; listener < listeners; listener++) listen(listener)
setInterval(() => say(), 100)

function say(failure?: string): void {
  const news: ListenerNews = { arrived, counts: delays.counts }
  parentPort?.postMessage(failure === undefined ? news : { ...news, failure })
}

function listen(listener: number): void {
  const headers = { accept: 'text/event-stream' }
  const outgoing = get({ host: '127.0.0.1', port, path: '/v1/feed', headers }, (incoming) => {
    if (incoming.statusCode !== 200) {
      say(`GET /v1/feed answered ${incoming.statusCode}`)
      return
    }
    let rest = ''
    incoming.setEncoding('latin1')
    incoming.on('data', (piece: string) => {
      const receivedMs = Date.now()
      const text = rest + piece
      let at = 0
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n', at)) {
        // The first thing that is said tells where it begins.
        arrived[listener] ??= 0
        if (text.startsWith(posted, at)) take(listener, text, at, receivedMs)
        at = end + 2
      }
      rest = text.slice(at)
    })
    incoming.once('close', () => say('the feed has ended'))
  })
  outgoing.once('error', (error) => say(error.message))
}

/** Times repeat, and reading one takes longer than all the rest. */
function take(listener: number, text: string, at: number, receivedMs: number): void {
  const timeAt = text.indexOf(timeField, at) + timeField.length
  const time = text.slice(timeAt, timeAt + timeLength)
  if (time !== lastTime) {
    lastTime = time
    lastTimeMs = Date.parse(time)
  }
  delays.add(receivedMs - lastTimeMs)
  arrived[listener] = (arrived[listener] ?? 0) + 1
}
