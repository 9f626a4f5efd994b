import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import envSchema from 'env-schema'
import { type Static, Type } from 'typebox'
import { type Currency, currencyCodePattern } from './currency.js'
import { shardsMax } from './layout.js'
import { scaleMax } from './money.js'

/**
 * Configuration: read once, from the environment, into a filled and frozen object. A secret can be
 * given in a file instead: DAYBOOK_DIGEST_KEY_FILE.
 */
const schema = Type.Object({
  DATABASE_URL: Type.Optional(Type.String({ minLength: 1 })),
  DAYBOOK_HOST: Type.String({ default: '127.0.0.1' }),
  DAYBOOK_PORT: Type.Integer({ default: 3000, minimum: 0, maximum: 65_535 }),
  DAYBOOK_DATA_DIR: Type.String({ default: './data' }),
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
  }
}

/** Reads the configuration; throws a {@link ConfigError} that names the variable. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const env = parse(environment)
  if (env.DAYBOOK_DIGEST_KEY !== undefined && env.DAYBOOK_DIGEST_KEY_FILE !== undefined) {
    throw new ConfigError('DAYBOOK_DIGEST_KEY and DAYBOOK_DIGEST_KEY_FILE are both given')
  }
  assertLoopback(env.DAYBOOK_HOST)
  if (env.DAYBOOK_ADMISSION_TIMEOUT_MS > env.DAYBOOK_REQUEST_TIMEOUT_MS) {
    // Else commands that nobody waits for any more would fill the mailboxes.
    throw new ConfigError('DAYBOOK_ADMISSION_TIMEOUT_MS is more than DAYBOOK_REQUEST_TIMEOUT_MS')
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
  if (key !== undefined) return Buffer.from(key)
  if (file === undefined) return undefined
  try {
    const content = Buffer.from(readFileSync(file, 'utf8').trim())
    if (content.length >= 16) return content
  } catch (error) {
    throw new ConfigError('DAYBOOK_DIGEST_KEY_FILE cannot be read', { cause: error })
  }
  throw new ConfigError('DAYBOOK_DIGEST_KEY_FILE holds fewer than 16 characters')
}

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
