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
import { type FeedSources, watchFeeds } from './history/feed/feed-metrics.js'
import type { FollowerProgress } from './history/follower.js'
import type { WebhookGauges } from './history/webhooks/dispatcher.js'
import type { KeeperGauges } from './snapshots/keeper.js'
import type { StartStatus } from './start-progress.js'
import { watchWebhooks } from './webhook-metrics.js'

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
      'Commands that wait until other shards, or the read models, have said what they need',
    ),
    letGo: gauge('daybook_transactions_let_go', 'Transaction ids that only the read models hold'),
    letGoBytes: gauge('daybook_let_go_filter_bytes', 'Filter of the ids that were let go'),
    oldIdsFound: gauge('daybook_old_ids_found', 'Ids looked for in the read models and found'),
    oldIdsUnused: gauge('daybook_old_ids_unused', 'Ids looked for there that were never used'),
    oldIdsFailed: gauge('daybook_old_ids_failed', 'Ids that could not be looked for there'),
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

/** What the metrics of the main thread are taken from. */
export interface MetricsSources extends FeedSources {
  /** Undefined as long as nothing is served. */
  router(): Router | undefined
  status?(): { phase: string } & StartStatus
  snapshots?(): KeeperGauges | undefined
  history?(): FollowerProgress | undefined
  webhooks?(): WebhookGauges | undefined
}

export function serverMetrics(sources: MetricsSources): ServerMetrics {
  const { router, status, snapshots, history, webhooks } = sources
  const register = new Registry()
  collectDefaultMetrics({ register })
  if (status !== undefined) watchStart(register, status)
  if (snapshots !== undefined) watchSnapshots(register, snapshots)
  if (history !== undefined) watchHistory(register, history)
  watchFeeds(register, sources)
  if (webhooks !== undefined) watchWebhooks(register, webhooks)
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

function watchStart(register: Registry, status: () => { phase: string } & StartStatus): void {
  const registers = [register]
  new Gauge({
    name: 'daybook_phase',
    help: 'Where the process has got to: 1 for the phase that it is in',
    labelNames: ['phase'],
    registers,
    collect() {
      this.reset()
      this.set({ phase: status().phase }, 1)
    },
  })
  const gauges: [string, string, (of: StartStatus) => number][] = [
    ['rows', 'Rows of the snapshot loaded at the start', ({ rowsDone }) => rowsDone],
    ['rows_total', 'Rows that the snapshot has', ({ rowsTotal }) => rowsTotal],
    ['records', 'Records of the journal replayed at the start', ({ recordsDone }) => recordsDone],
    ['records_total', 'Records that were to be replayed', ({ recordsTotal }) => recordsTotal],
  ]
  for (const [name, help, read] of gauges) {
    new Gauge({
      name: `daybook_start_${name}`,
      help,
      registers,
      collect() {
        this.set(read(status()))
      },
    })
  }
}

function watchSnapshots(register: Registry, snapshots: () => KeeperGauges | undefined): void {
  const gauges: [string, string, (of: KeeperGauges) => number][] = [
    [
      'daybook_snapshot_created_seconds',
      'When the newest snapshot was made, in seconds since 1970; 0 if none was',
      ({ lastCreatedAt }) => lastCreatedAt / 1000,
    ],
    [
      'daybook_snapshot_records',
      'Records of this generation that the newest snapshot stands for',
      ({ lastRecords }) => lastRecords,
    ],
    ['daybook_snapshot_bytes', 'Bytes of the last snapshot built here', (of) => of.lastBytes],
    [
      'daybook_snapshot_build_seconds',
      'Time that the last build took',
      ({ lastBuildMs }) => lastBuildMs / 1000,
    ],
    ['daybook_snapshot_building', '1 while a snapshot is built', (of) => Number(of.isBuilding)],
    ['daybook_snapshots_built', 'Snapshots built by this process', ({ built }) => built],
    ['daybook_snapshots_failed', 'Builds that failed', ({ failed }) => failed],
  ]
  watchAll(register, gauges, snapshots)
}

function watchHistory(register: Registry, history: () => FollowerProgress | undefined): void {
  watchAll(
    register,
    [
      ['daybook_history_following', '1 while this process writes the read models', () => 1],
      [
        'daybook_history_lag_records',
        'Records of the journal that the read models do not have yet',
        ({ records, recordsTotal }) => recordsTotal - records,
      ],
      [
        'daybook_history_lag_seconds',
        'How long ago the oldest of them was recorded; 0 if there is none',
        ({ lagMs }) => lagMs / 1000,
      ],
      ['daybook_history_records', 'Records that the read models hold', ({ records }) => records],
      [
        'daybook_history_readable',
        '1 if the read models can be read, 0 while they are being built',
        ({ indexed }) => Number(indexed),
      ],
    ],
    history,
  )
}

/** Gauges over one source; 0 while there is none. */
function watchAll<Source>(
  register: Registry,
  gauges: readonly [name: string, help: string, read: (source: Source) => number][],
  source: () => Source | undefined,
): void {
  for (const [name, help, read] of gauges) {
    new Gauge({
      name,
      help,
      registers: [register],
      collect() {
        const values = source()
        this.set(values === undefined ? 0 : read(values))
      },
    })
  }
}
