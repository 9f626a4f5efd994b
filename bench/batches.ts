import { Agent, type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { IdSource } from './ids.js'
import type { LoadJob, LoadResult } from './load.js'
import { Meter } from './meter.js'
import { Draw } from './spread.js'
import { BatchBody } from './transfers.js'

const CONTENT_TYPES = {
  json: { 'content-type': 'application/json', accept: 'application/json' },
  binary: {
    'content-type': 'application/vnd.daybook.transactions',
    accept: 'application/vnd.daybook.results',
  },
}
/** Bodies that a connection takes in turn, so that not every batch meets the same accounts. */
const BODIES_PER_CONNECTION = 2

/** Many transfers a request, one request at a time on each of a few connections. */
export async function runBatches(job: LoadJob): Promise<LoadResult> {
  const meter = new Meter(job.watch)
  const source = new IdSource()
  const draw = new Draw(job.accounts, job.spread)
  const agent = new Agent({ keepAlive: true, maxSockets: job.connections })
  const run = { stopped: false }

  const connections = Array.from({ length: job.connections }, async () => {
    const bodies = Array.from(
      { length: BODIES_PER_CONNECTION },
      () => new BatchBody(job.accounts, draw, source, job.format, job.batchSize),
    )
    for (let turn = 0; !run.stopped; turn++) {
      await sendBatch(job, agent, bodies[turn % bodies.length], meter)
    }
  })
  await sleep(job.warmupMs)
  meter.open()
  await sleep(job.measureMs)
  meter.close()
  run.stopped = true
  await Promise.all(connections)
  agent.destroy()
  return meter.result()
}

async function sendBatch(job: LoadJob, agent: Agent, body: BatchBody, meter: Meter): Promise<void> {
  const size = body.amounts.length
  body.renew()
  const started = performance.now()
  let answer: Answer
  try {
    answer = await postBatch(job, agent, body.buffer)
  } catch {
    meter.loseAnswer(size)
    // A server that has gone would otherwise be asked as fast as the machine can fail.
    await sleep(50)
    return
  }
  const latencyMs = performance.now() - started
  if (answer.status !== 200) {
    meter.fail(`${answer.status} ${firstCode(answer.body)}`, size)
    return
  }
  const outcome =
    job.format === 'json' ? readJson(answer.body, body) : readBinary(answer.body, body)
  meter.acknowledge({ ...outcome, latencyMs })
  if (outcome.transfers < size) {
    meter.fail(`refused ${firstCode(answer.body)}`, size - outcome.transfers)
  }
}

interface Answer {
  status: number
  body: Buffer
}

export interface Outcome {
  transfers: number
  amount: bigint
}

/** Sends a batch; resolves with whatever is answered. */
export function postBatch(
  job: Pick<LoadJob, 'host' | 'port' | 'path' | 'format'>,
  agent: Agent,
  body: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: job.host,
        port: job.port,
        path: job.path,
        method: 'POST',
        agent,
        headers: { ...CONTENT_TYPES[job.format], 'content-length': body.length },
      },
      (incoming: IncomingMessage) => {
        const parts: Buffer[] = []
        incoming.on('data', (part: Buffer) => parts.push(part))
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(parts) }),
        )
        incoming.on('error', reject)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/**
 * Takes the counts from the end of the answer, and looks at the items only if some were not
 * accepted: parsing 8,190 results would make the generator the thing that is measured.
 */
function readJson(answer: Buffer, body: BatchBody): Outcome {
  const countsAt = answer.lastIndexOf('"counts":')
  const counts = /"accepted":(\d+)/.exec(answer.toString('latin1', countsAt, countsAt + 120))
  if (countsAt >= 0 && Number(counts?.[1]) === body.amounts.length) {
    return { transfers: body.amounts.length, amount: body.sum }
  }
  const parsed: { data: { results: { outcome: string }[] } } = JSON.parse(answer.toString('utf8'))
  return sumAccepted(body, (index) => parsed.data.results[index].outcome === 'accepted')
}

/** The items lie behind a header of 16 bytes, 16 bytes each; the first byte is the outcome. */
export function readBinary(answer: Buffer, body: BatchBody): Outcome {
  const allAccepted =
    answer.readUInt32LE(8) === body.amounts.length &&
    answer.readUInt32LE(12) === body.amounts.length
  if (allAccepted) return { transfers: body.amounts.length, amount: body.sum }
  return sumAccepted(body, (index) => answer[16 + 16 * index] === 0)
}

/** The first error code in an answer in JSON, so that a failing run says what fails. */
function firstCode(answer: Buffer): string {
  return /"code":"(\w+)"/.exec(answer.toString('latin1'))?.[1] ?? ''
}

function sumAccepted(body: BatchBody, isAccepted: (index: number) => boolean): Outcome {
  const outcome: Outcome = { transfers: 0, amount: 0n }
  body.amounts.forEach((amount, index) => {
    if (!isAccepted(index)) return
    outcome.transfers++
    outcome.amount += amount
  })
  return outcome
}
