import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  Registry,
} from 'prom-client'
import { refusalOf } from './actors/refusals.js'
import type { Router } from './actors/router.js'
import type { ShardGauges, ShardObserver } from './actors/shard-parts.js'

/** A shard's metrics, kept in its own thread and collected from there as plain data. */
export function shardMetrics(shard: number): {
  observer: ShardObserver
  collect(gauges: ShardGauges): Promise<object>
} {
  const registers = [new Registry()]
  registers[0].setDefaultLabels({ shard: String(shard) })
  const batchRecords = new Histogram({
    name: 'daybook_batch_records',
    help: 'Records committed together by one COPY',
    buckets: [1, 4, 16, 64, 256, 1024, 4096, 16384],
    registers,
  })
  const batchBytes = new Counter({
    name: 'daybook_journal_bytes_total',
    help: 'Bytes of COPY sent to the journal',
    registers,
  })
  const records = new Counter({
    name: 'daybook_records_total',
    help: 'Records committed to the journal',
    registers,
  })
  const commitSeconds = new Histogram({
    name: 'daybook_commit_seconds',
    help: 'Time from sending a batch to its commit, settlements included',
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  })
  const refused = new Counter({
    name: 'daybook_refusals_total',
    help: 'Commands refused, by code',
    labelNames: ['code'],
    registers,
  })
  const expired = new Counter({
    name: 'daybook_holds_expired_total',
    help: 'Holds that expired',
    registers,
  })
  const stalls = new Counter({
    name: 'daybook_stalls_total',
    help: 'Frames refused because the journal did not take the open batch in time',
    registers,
  })
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers })
  const gauges = {
    mailboxCommands: gauge('daybook_mailbox_commands', 'Commands that wait in the mailbox'),
    openRecords: gauge('daybook_open_records', 'Records that are applied and not yet durable'),
    waitingAnswersBytes: gauge('daybook_waiting_answers_bytes', 'Answers that wait for a commit'),
    durableSeq: gauge('daybook_durable_seq', 'Seq of the last durable record'),
    accounts: gauge('daybook_accounts', 'Accounts in memory'),
    transactions: gauge('daybook_transactions', 'Remembered transaction ids'),
    holds: gauge('daybook_holds', 'Pending holds'),
    coordinations: gauge(
      'daybook_coordinations',
      'Commands that are being decided together with other shards',
    ),
    reservedAccounts: gauge(
      'daybook_reserved_accounts',
      'Accounts of which undecided transactions hold an amount',
    ),
    waitingCommands: gauge(
      'daybook_waiting_commands',
      'Commands that wait until other shards have decided what they need',
    ),
    settlements: gauge('daybook_settlements', 'Commits of unknown outcome that were settled'),
  }
  return {
    observer: {
      onBatch(count, bytes, commitMs) {
        batchRecords.observe(count)
        batchBytes.inc(bytes)
        records.inc(count)
        commitSeconds.observe(commitMs / 1000)
      },
      onRefused: (refusal) => refused.inc({ code: refusalOf(refusal).code }),
      onExpired: () => expired.inc(),
      onStall: () => stalls.inc(),
    },
    async collect(values) {
      for (const [name, value] of Object.entries(values)) {
        gauges[name as keyof typeof gauges].set(value)
      }
      return await registers[0].getMetricsAsJSON()
    },
  }
}

/** The main thread's metrics. */
export interface ServerMetrics {
  /** One answered request. Route is the pattern, never the URL. */
  onResponse(route: string, method: string, status: number, seconds: number): void
  /** `bytes` tells how much of the budget for request bodies is in use. */
  watchBodies(bytes: () => number): void
  /** All metrics as Prometheus text, with those of the shards. */
  expose(shards: object[]): Promise<string>
  contentType: string
}

/** `router` is undefined as long as nothing is served. */
export function serverMetrics(router: () => Router | undefined): ServerMetrics {
  const register = new Registry()
  collectDefaultMetrics({ register })
  const seconds = new Histogram({
    name: 'daybook_http_request_seconds',
    help: 'Time from the arrival of a request to its answer',
    labelNames: ['route', 'method', 'status'],
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10],
    registers: [register],
  })
  new Gauge({
    name: 'daybook_in_flight_commands',
    help: 'Commands between the API and the shards',
    registers: [register],
    collect() {
      this.set(router()?.inFlightCommands ?? 0)
    },
  })
  new Gauge({
    name: 'daybook_striped_accounts',
    help: 'Striped accounts whose parts are kept at hand beside the API',
    registers: [register],
    collect() {
      this.set(router()?.striped.accounts ?? 0)
    },
  })
  // Looking labels up for every request costs more than the observation itself.
  const byLabels = new Map<string, { observe(value: number): void }>()
  return {
    contentType: register.contentType,
    onResponse(route, method, status, duration) {
      const key = `${method} ${status} ${route}`
      let child = byLabels.get(key)
      if (child === undefined) {
        child = seconds.labels({ route, method, status })
        byLabels.set(key, child)
      }
      child.observe(duration)
    },
    watchBodies(bytes) {
      new Gauge({
        name: 'daybook_request_body_bytes',
        help: 'Bytes of large request bodies under way',
        registers: [register],
        collect() {
          this.set(bytes())
        },
      })
    },
    async expose(shards) {
      const own = await register.getMetricsAsJSON()
      const merged = AggregatorRegistry.aggregate([own, ...shards] as object[])
      return await merged.metrics()
    },
  }
}
