import { Redis } from 'ioredis'
import type { FeedEvent } from './feed-event.js'
import { appendScript, beginScript, readScript } from './redis-scripts.js'

export interface RedisAddress {
  /** redis:// or rediss://, which may hold a password: it is in no error of this file. */
  url: string
  /** Of connecting, and of each command. */
  timeoutMs: number
}

/** How much stays in a stream. What is not given has no limit. */
export interface Retention {
  /** Entries; those beyond are taken away as new ones come. */
  lengthMax?: number
  /** Age of a record's time in milliseconds, at the clock of the feed. */
  ageMsMax?: number
}

/** Where a stream in Redis is: all up to `seq` has been delivered, and can be gone on from. */
export interface RedisPosition {
  seq: number
  /** Digest of the journal there; absent if it was begun in the middle of a chunk. */
  digest?: Buffer
}

/** The stream in Redis that one stream of the journal is delivered into, over one connection. */
export class RedisStream {
  readonly #redis: Redis
  readonly #keys: [string, string]
  readonly #secrets: string[]
  /** What the socket said last: commands that wait say only that it was closed. */
  #socketError: Error | undefined

  /** Rejects if Redis cannot be reached within the time. */
  static async connect(address: RedisAddress, key: string, signal: AbortSignal) {
    const stream = new RedisStream(address, key)
    const onAbort = () => stream.close()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await stream.#saying(() => stream.#redis.connect())
      return stream
    } catch (error) {
      stream.close()
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  private constructor({ url, timeoutMs }: RedisAddress, key: string) {
    this.#secrets = secretsOf(url)
    this.#keys = [key, `${key}:state`]
    // Nothing is sent again or waits in a queue: the feed looks first where the stream is by then.
    this.#redis = new Redis(url, {
      ...{ lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 },
      ...{ enableOfflineQueue: false, autoResendUnfulfilledCommands: false },
      ...{ connectTimeout: timeoutMs, commandTimeout: timeoutMs },
      connectionName: 'daybook-feed',
    })
    this.#redis.on('error', (error: Error) => {
      this.#socketError = error
    })
  }

  /** Undefined if there is no stream, or not as it was left. */
  async position(): Promise<RedisPosition | undefined> {
    const [seq, digest] = (await this.#run(readScript, [])) as [string, string]
    if (seq === '') return undefined
    return { seq: Number(seq), ...(digest === '' ? {} : { digest: Buffer.from(digest, 'hex') }) }
  }

  /** Empties the stream, to go on after `afterSeq`. False if it is no longer where it was `seen`. */
  async begin(seen: number | undefined, afterSeq: number): Promise<boolean> {
    return (await this.#run(beginScript, [seen ?? '', afterSeq, afterSeq + 1])) === 1
  }

  /** Appends, and takes away what is not to be kept. False, and nothing done, if it is elsewhere. */
  async append(
    batch: { afterSeq: number; seq: number; digest: Buffer; events: FeedEvent[] },
    kept: { lengthMax?: number; oldestMs?: number },
  ): Promise<boolean> {
    const answer = await this.#run(appendScript, [
      ...[batch.afterSeq, batch.seq, batch.digest.toString('hex')],
      ...[kept.lengthMax ?? 0, kept.oldestMs ?? 0],
      ...batch.events.flatMap((event) => [
        event.position.slice(event.position.indexOf('-') + 1),
        event.type,
        Date.parse(event.time),
        JSON.stringify(event),
      ]),
    ])
    return answer === 1
  }

  /** Ends the connection at once; what is under way rejects. */
  close(): void {
    this.#redis.disconnect()
  }

  #run(script: string, words: (string | number)[]): Promise<unknown> {
    return this.#saying(() => this.#redis.eval(script, 2, ...this.#keys, ...words))
  }

  async #saying<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw new RedisFault(this.#wordsOf(error as Error))
    }
  }

  #wordsOf(error: Error): string {
    const said = new Set([error.message, this.#socketError?.message].filter(Boolean))
    let words = [...said].join(': ') || error.name
    for (const secret of this.#secrets) words = words.replaceAll(secret, '***')
    return words
  }
}

/**
 * What Redis or the way to it has said. Made anew of its words alone: an error of the client carries
 * the command that failed, which may be the log-in with its password.
 */
class RedisFault extends Error {
  readonly code = 'redis_failed'
}

/** Throws, without its text, if `url` is not one of Redis. */
export function assertRedisUrl(url: string): void {
  const protocol = URL.canParse(url) ? new URL(url).protocol : ''
  if (protocol !== 'redis:' && protocol !== 'rediss:') {
    throw new TypeError('the address of Redis is not a URL that begins with redis:// or rediss://')
  }
}

/** The password of an address in every form in which it could be said again, longest first. */
function secretsOf(url: string): string[] {
  const { password, searchParams } = new URL(url)
  const forms = [password, decoded(password), searchParams.get('password') ?? '']
  return forms.filter((form) => form !== '').sort((one, other) => other.length - one.length)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
