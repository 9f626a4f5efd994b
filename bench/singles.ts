import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { IdSource } from './ids.js'
import type { LoadJob, LoadResult } from './load.js'
import { Meter } from './meter.js'
import { Draw } from './spread.js'
import { joinAccountTexts, SingleRequest } from './transfers.js'

/**
 * What we use of an autocannon client beyond its types. Its own `setBody` builds a request anew
 * from strings; handing out a prepared buffer costs a tenth. `responseMax` is the limit that
 * `maxConnectionRequests` sets: lowered in the middle of a run, it ends each connection after the
 * answer that it waits for, so that no request is cut off and what was acknowledged is known.
 */
interface Connection {
  getRequestBuffer: () => Buffer
  responseMax?: number
}

/** Far beyond any run: the run ends when its connections do, not by autocannon's clock. */
const NO_DURATION_SECONDS = 3600
const ANSWER_TIMEOUT_SECONDS = 30

/** One transfer a request, one request at a time on each connection, sent by autocannon. */
export async function runSingles(job: LoadJob): Promise<LoadResult> {
  const meter = new Meter(job.watch)
  const source = new IdSource()
  const draw = new Draw(job.accounts, job.spread)
  const accountTexts = joinAccountTexts(job.accounts)
  const host = `${job.host}:${job.port}`
  const requests = new Map<object, SingleRequest>()

  const { instance, finished } = startAutocannon({
    url: `http://${host}${job.path}`,
    method: 'POST',
    connections: job.connections,
    duration: NO_DURATION_SECONDS,
    timeout: ANSWER_TIMEOUT_SECONDS,
    sampleInt: 100,
    skipAggregateResult: true,
    setupClient: (client) => {
      const target = { host, path: job.path }
      const request = new SingleRequest(draw, source, accountTexts, target)
      requests.set(client, request)
      asConnection(client).getRequestBuffer = () => {
        request.renew()
        return request.buffer
      }
    },
  })
  instance.on('response', (client, status, _bytes, latencyMs) => {
    const amount = requests.get(client)?.amount ?? 0n
    if (status >= 200 && status < 300) meter.acknowledge({ transfers: 1, amount, latencyMs })
    else meter.fail(String(status), 1)
  })
  instance.on('reqError', () => meter.loseAnswer(1))

  await sleep(job.warmupMs)
  meter.open()
  await sleep(job.measureMs)
  meter.close()
  for (const client of requests.keys()) asConnection(client).responseMax = 1
  await finished
  return meter.result()
}

function startAutocannon(options: autocannon.Options): {
  instance: autocannon.Instance
  finished: Promise<void>
} {
  let settle: (error: unknown) => void = () => {}
  const finished = new Promise<void>((resolve, reject) => {
    settle = (error) => (error ? reject(error) : resolve())
  })
  return { instance: autocannon(options, (error) => settle(error)), finished }
}

function asConnection(client: object): Connection {
  return client as Connection
}
