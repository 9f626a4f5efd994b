import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import envSchema from 'env-schema'
import { type Static, Type } from 'typebox'
import { type Currency, currencyCodePattern } from './currency.js'
import { shardsMax } from './layout.js'
import { scaleMax } from './money.js'
import type { SnapshotStoreConfig } from './snapshots/store.js'

/**
 * Configuration: read once, from the environment, into a filled and frozen object. A secret can be
 * given in a file instead: DAYBOOK_DIGEST_KEY_FILE.
 */
const schema = Type.Object({
  DATABASE_URL: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_HOST: Type.String({ default: '127.0.0.1' }),
  DAYBOOK_PORT: Type.Integer({ default: 3000, minimum: 0, maximum: 65_535 }),
  DAYBOOK_DATA_DIR: Type.String({ default: './data' }),
  DAYBOOK_ARCHIVE_DIR: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_SHARDS: Type.Integer({ default: shardsByDefault(), minimum: 1, maximum: shardsMax }),
  DAYBOOK_LOG_LEVEL: Type.Union(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map((level) =>
      Type.Literal(level),
    ),
    { default: 'info' },
  ),
  DAYBOOK_LOG_REQUESTS: Type.Boolean({ default: false }),
  DAYBOOK_LOG_SLOW_MS: Type.Integer({ default: 1000, minimum: 1 }),
  DAYBOOK_LOG_SAMPLE: Type.Number({ default: 0.001, minimum: 0, maximum: 1 }),
  DAYBOOK_CURRENCIES: Type.String({ default: '' }),
  DAYBOOK_LEASE_MS: Type.Integer({ default: 10_000, minimum: 100 }),
  DAYBOOK_COMMIT_TIMEOUT_MS: Type.Integer({ default: 5000, minimum: 100 }),
  DAYBOOK_ADMISSION_TIMEOUT_MS: Type.Integer({ default: 5000, minimum: 100 }),
  DAYBOOK_REQUEST_TIMEOUT_MS: Type.Integer({ default: 10_000, minimum: 100 }),
  DAYBOOK_BODY_TIMEOUT_MS: Type.Integer({ default: 30_000, minimum: 100 }),
  DAYBOOK_IN_FLIGHT_MAX: Type.Integer({ default: 65_536, minimum: 8192 }),
  DAYBOOK_ACCOUNTS_MAX: Type.Integer({ default: 50_000_000, minimum: 1, maximum: 2_000_000_000 }),
  DAYBOOK_TRANSACTIONS_MAX: Type.Integer({
    default: 200_000_000,
    minimum: 1,
    maximum: 2_000_000_000,
  }),
  DAYBOOK_HISTORY: Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'on' }),
  REDIS_URL: Type.Optional(Type.String({ pattern: '^rediss?://' })),
  DAYBOOK_FEED_LENGTH_MAX: Type.Integer({ default: 1_000_000, minimum: 1000 }),
  DAYBOOK_FEED_LISTENERS_MAX: Type.Integer({ default: 64, minimum: 1, maximum: 1000 }),
  DAYBOOK_FEED_HEARTBEAT_MS: Type.Integer({ default: 15_000, minimum: 10 }),
  DAYBOOK_FEED_STALL_MS: Type.Integer({ default: 30_000, minimum: 10 }),
  DAYBOOK_WEBHOOK_KEY: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_WEBHOOK_KEY_FILE: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_WEBHOOK_PRIVATE: Type.Union([Type.Literal('refuse'), Type.Literal('allow')], {
    default: 'refuse',
  }),
  DAYBOOK_WEBHOOK_TIMEOUT_MS: Type.Integer({ default: 10_000, minimum: 100, maximum: 60_000 }),
  DAYBOOK_SERVICER_NAME: Type.String({ default: 'Daybook', minLength: 1, maxLength: 140 }),
  DAYBOOK_SERVICER_BIC: Type.Optional(
    Type.String({ pattern: '^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$' }),
  ),
  DAYBOOK_SNAPSHOTS: Type.String({ default: 'postgres' }),
  DAYBOOK_SNAPSHOT_RECORDS: Type.Integer({ default: 1_000_000, minimum: 1 }),
  DAYBOOK_SNAPSHOT_MINUTES: Type.Integer({ default: 60, minimum: 1 }),
  DAYBOOK_SNAPSHOTS_KEPT: Type.Integer({ default: 3, minimum: 1, maximum: 1000 }),
  DAYBOOK_S3_ENDPOINT: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_S3_REGION: Type.String({ default: 'us-east-1' }),
  DAYBOOK_S3_ACCESS_KEY_ID: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_S3_SECRET_ACCESS_KEY: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_S3_SECRET_ACCESS_KEY_FILE: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_DIGEST_KEY: Type.Optional(Type.String({ minLength: 16 })),
  DAYBOOK_DIGEST_KEY_FILE: Type.Optional(Type.String({ minLength: 1 })),
})

export interface Config {
  /** Fixed for the life of the data. */
  book: {
    extraCurrencies: readonly Currency[]
    /** Key of the journal's digest chain (HMAC); absent: plain SHA-256. */
    digestKey: Buffer | undefined
  }
  /** What each process may choose. */
  process: {
    host: string
    port: number
    dataDirectory: string
    /** Worker threads that own the book's slots; may change at any restart. */
    shards: number
    databaseUrl: string | undefined
    /** Where records are that have been archived; absent: they cannot be read. */
    archiveDirectory: string | undefined
    logLevel: string
    /** A line per request, for it costs a third of the throughput. */
    logRequests: boolean
    logSlowMs: number
    /** Share of requests that get a line all the same. */
    logSample: number
    leaseMs: number
    commitTimeoutMs: number
    admissionTimeoutMs: number
    requestTimeoutMs: number
    /** A body that takes longer to arrive is given up. */
    bodyTimeoutMs: number
    inFlightCommandsMax: number
    accountsMax: number
    transactionsMax: number
    /** Where events are delivered, and how many stay there of each stream; absent: nowhere. */
    redis: { url: string; lengthMax: number } | undefined
    /** Of GET /v1/feed. Who takes nothing for `stallMs`, although there is something, is cut off. */
    feed: { listenersMax: number; heartbeatMs: number; stallMs: number }
    webhooks: WebhookSettings
    /** Who keeps the accounts, as statements say; an ISO 9362 BIC. */
    servicer: { name: string; bic?: string }
    /** Whether this process follows the journal and keeps the read models. */
    history: boolean
    /** Undefined: no snapshots are made or used. */
    snapshots: SnapshotSettings | undefined
  }
}

export interface WebhookSettings {
  /** Receivers' secrets are derived from it; absent: nothing is delivered, and none can be made. */
  key: Buffer | undefined
  /** Whether receivers may be on loopback and in private networks, and without TLS there. */
  allowsPrivate: boolean
  /** A receiver that takes longer to answer is taken not to. */
  timeoutMs: number
}

/** Where snapshots go, when, and how many stay. */
export interface SnapshotSettings {
  store:
    | { kind: 'postgres' }
    | Extract<SnapshotStoreConfig, { kind: 'directory' }>
    | Omit<Extract<SnapshotStoreConfig, { kind: 's3' }>, 'timeoutMs'>
  /** Records after the last one that make the next one due. */
  records: number
  /** Milliseconds after it, if there is any record. */
  periodMs: number
  kept: number
}

/** A shard that lets transactions go has to hold what a command may name: two of the largest batch. */
const followedTransactionsMin = 16_384

/** Reads the configuration; throws a {@link ConfigError} that names the variable. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const env = parse(environment)
  assertLoopback(env.DAYBOOK_HOST)
  if (env.DAYBOOK_ADMISSION_TIMEOUT_MS > env.DAYBOOK_REQUEST_TIMEOUT_MS) {
    // Else commands that nobody waits for any more would fill the mailboxes.
    throw new ConfigError('DAYBOOK_ADMISSION_TIMEOUT_MS is more than DAYBOOK_REQUEST_TIMEOUT_MS')
  }
  const perShard = env.DAYBOOK_TRANSACTIONS_MAX / env.DAYBOOK_SHARDS
  if (env.DAYBOOK_HISTORY === 'on' && perShard < followedTransactionsMin) {
    throw new ConfigError(
      `DAYBOOK_TRANSACTIONS_MAX is less than ${followedTransactionsMin} for each of DAYBOOK_SHARDS`,
    )
  }
  return deepFreeze({
    book: {
      extraCurrencies: parseCurrencies(env.DAYBOOK_CURRENCIES),
      digestKey: readDigestKey(env.DAYBOOK_DIGEST_KEY, env.DAYBOOK_DIGEST_KEY_FILE),
    },
    process: {
      host: env.DAYBOOK_HOST,
      port: env.DAYBOOK_PORT,
      dataDirectory: env.DAYBOOK_DATA_DIR,
      shards: env.DAYBOOK_SHARDS,
      databaseUrl: env.DATABASE_URL,
      archiveDirectory: env.DAYBOOK_ARCHIVE_DIR,
      logLevel: env.DAYBOOK_LOG_LEVEL,
      logRequests: env.DAYBOOK_LOG_REQUESTS,
      logSlowMs: env.DAYBOOK_LOG_SLOW_MS,
      logSample: env.DAYBOOK_LOG_SAMPLE,
      leaseMs: env.DAYBOOK_LEASE_MS,
      commitTimeoutMs: env.DAYBOOK_COMMIT_TIMEOUT_MS,
      admissionTimeoutMs: env.DAYBOOK_ADMISSION_TIMEOUT_MS,
      requestTimeoutMs: env.DAYBOOK_REQUEST_TIMEOUT_MS,
      bodyTimeoutMs: env.DAYBOOK_BODY_TIMEOUT_MS,
      inFlightCommandsMax: env.DAYBOOK_IN_FLIGHT_MAX,
      accountsMax: env.DAYBOOK_ACCOUNTS_MAX,
      transactionsMax: env.DAYBOOK_TRANSACTIONS_MAX,
      redis:
        env.REDIS_URL === undefined
          ? undefined
          : { url: env.REDIS_URL, lengthMax: env.DAYBOOK_FEED_LENGTH_MAX },
      feed: {
        listenersMax: env.DAYBOOK_FEED_LISTENERS_MAX,
        heartbeatMs: env.DAYBOOK_FEED_HEARTBEAT_MS,
        stallMs: env.DAYBOOK_FEED_STALL_MS,
      },
      webhooks: webhookSettings(env),
      servicer: {
        name: env.DAYBOOK_SERVICER_NAME,
        ...(env.DAYBOOK_SERVICER_BIC === undefined ? {} : { bic: env.DAYBOOK_SERVICER_BIC }),
      },
      history: env.DAYBOOK_HISTORY === 'on',
      snapshots: snapshotSettings(env),
    },
  })
}

function parse(environment: NodeJS.ProcessEnv): Static<typeof schema> {
  // Only our own names are looked at, so that no value of another program reaches an error.
  const known = Object.keys(schema.properties)
  const data = Object.fromEntries(
    known
      .filter((name) => environment[name] !== undefined)
      .map((name) => [name, environment[name]]),
  )
  for (const name of Object.keys(environment)) {
    if (name.startsWith('DAYBOOK_') && !known.includes(name) && !name.startsWith('DAYBOOK_TEST_')) {
      throw new ConfigError(`${name} is not a setting of Daybook`)
    }
  }
  try {
    return envSchema<Static<typeof schema>>({ schema, data, dotenv: false, env: false })
  } catch (error) {
    throw new ConfigError((error as Error).message, { cause: error })
  }
}

/** Until credentials exist, nobody but this machine gets in. */
function assertLoopback(host: string): void {
  const loopback =
    host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
  if (!loopback) {
    throw new ConfigError(
      `DAYBOOK_HOST is ${host}: without credentials Daybook listens on loopback only`,
    )
  }
}

function webhookSettings(env: Static<typeof schema>): WebhookSettings {
  const { DAYBOOK_WEBHOOK_KEY: value, DAYBOOK_WEBHOOK_KEY_FILE: file } = env
  const isGiven = value !== undefined || file !== undefined
  const key = isGiven ? Buffer.from(secretOf('DAYBOOK_WEBHOOK_KEY', value, file)) : undefined
  if (key !== undefined && key.length < webhookKeyBytesMin) {
    throw new ConfigError(`DAYBOOK_WEBHOOK_KEY has fewer than ${webhookKeyBytesMin} characters`)
  }
  const allowsPrivate = env.DAYBOOK_WEBHOOK_PRIVATE === 'allow'
  return { key, allowsPrivate, timeoutMs: env.DAYBOOK_WEBHOOK_TIMEOUT_MS }
}

const webhookKeyBytesMin = 32

function snapshotSettings(env: Static<typeof schema>): SnapshotSettings | undefined {
  if (env.DAYBOOK_SNAPSHOTS === 'off') return undefined
  return {
    store: snapshotStore(env),
    records: env.DAYBOOK_SNAPSHOT_RECORDS,
    periodMs: env.DAYBOOK_SNAPSHOT_MINUTES * 60_000,
    kept: env.DAYBOOK_SNAPSHOTS_KEPT,
  }
}

/** `postgres`, `file:<path>` or `s3://<bucket>/<prefix>`. */
function snapshotStore(env: Static<typeof schema>): SnapshotSettings['store'] {
  const text = env.DAYBOOK_SNAPSHOTS
  if (text === 'postgres') return { kind: 'postgres' }
  if (text.startsWith('file:') && text.length > 5) return { kind: 'directory', path: text.slice(5) }
  const [, bucket, prefix] = /^s3:\/\/([a-z0-9.-]+)(?:\/([A-Za-z0-9/._-]*?))?\/?$/.exec(text) ?? []
  if (bucket === undefined) {
    throw new ConfigError(
      'DAYBOOK_SNAPSHOTS must be postgres, file:<path>, s3://<bucket>/<prefix> or off',
    )
  }
  return {
    kind: 's3',
    bucket,
    prefix: prefix ?? '',
    region: env.DAYBOOK_S3_REGION,
    endpoint: required(env, 'DAYBOOK_S3_ENDPOINT'),
    accessKeyId: required(env, 'DAYBOOK_S3_ACCESS_KEY_ID'),
    secretAccessKey: secretOf(
      'DAYBOOK_S3_SECRET_ACCESS_KEY',
      env.DAYBOOK_S3_SECRET_ACCESS_KEY,
      env.DAYBOOK_S3_SECRET_ACCESS_KEY_FILE,
    ),
  }
}

function required(
  env: Static<typeof schema>,
  name: 'DAYBOOK_S3_ENDPOINT' | 'DAYBOOK_S3_ACCESS_KEY_ID',
): string {
  const value = env[name]
  if (value === undefined)
    throw new ConfigError(`DAYBOOK_SNAPSHOTS is in S3, and ${name} is missing`)
  return value
}

/** A secret that is given itself or in a file. */
function secretOf(name: string, value: string | undefined, file: string | undefined): string {
  if (value !== undefined && file !== undefined) {
    throw new ConfigError(`${name} and ${name}_FILE are both given`)
  }
  if (value !== undefined) return value
  if (file === undefined) throw new ConfigError(`${name} and ${name}_FILE are both missing`)
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new ConfigError(`${name}_FILE cannot be read`, { cause: error })
  }
}

function parseCurrencies(text: string): Currency[] {
  if (text === '') return []
  return text.split(',').map((entry) => {
    const [code, scale, ...rest] = entry.trim().split(':')
    const decimals = Number(scale)
    const valid =
      new RegExp(currencyCodePattern).test(code) &&
      /^\d$/.test(scale ?? '') &&
      decimals <= scaleMax &&
      rest.length === 0
    if (!valid) {
      throw new ConfigError(
        `DAYBOOK_CURRENCIES has ${JSON.stringify(entry)}; expected CODE:DECIMALS with 0 to ${scaleMax} decimals`,
      )
    }
    return { code, scale: decimals }
  })
}

function readDigestKey(key: string | undefined, file: string | undefined): Buffer | undefined {
  if (key === undefined && file === undefined) return undefined
  const content = Buffer.from(secretOf('DAYBOOK_DIGEST_KEY', key, file))
  if (content.length >= digestKeyBytesMin) return content
  throw new ConfigError(`DAYBOOK_DIGEST_KEY_FILE holds fewer than ${digestKeyBytesMin} characters`)
}

const digestKeyBytesMin = 16

function deepFreeze<T extends object>(value: T): T {
  for (const entry of Object.values(value)) {
    if (typeof entry === 'object' && entry !== null && !ArrayBuffer.isView(entry)) deepFreeze(entry)
  }
  return Object.freeze(value)
}

/** A setting that cannot be used; the message names it. */
export class ConfigError extends Error {
  readonly code = 'invalid_configuration'
}

/** One shard on two cores, for HTTP takes the other; above that all cores but one. */
function shardsByDefault(): number {
  const cores = availableParallelism()
  return cores <= 2 ? 1 : Math.min(cores - 1, shardsMax)
}
