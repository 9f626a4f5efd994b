import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { AwsClient } from 'aws4fetch'

export interface S3Address {
  endpoint: string
  region: string
  bucket: string
  accessKeyId: string
  secretAccessKey: string
  timeoutMs: number
}

/** Milliseconds before each further attempt, half of them random so that many do not come at once. */
const retryDelaysMs = [25, 100, 500, 2000]

/**
 * A bucket of any service that speaks S3, addressed by path. A request that finds no connection, or
 * is answered 429 or 5xx, is sent again a few times; all of it together takes no longer than
 * `timeoutMs`. All requests may be repeated without harm. Rejects with an error whose `code` is that
 * of the service, or `http_<status>`, `no_answer` or `timeout`.
 */
export class S3Bucket {
  readonly #client: AwsClient
  readonly #url: string
  readonly #timeoutMs: number

  /** Throws a TypeError if the endpoint or the bucket cannot be part of an address. */
  constructor(address: S3Address) {
    const { region, accessKeyId, secretAccessKey } = address
    this.#client = new AwsClient({ region, accessKeyId, secretAccessKey, service: 's3' })
    this.#url = `${endpointUrl(address.endpoint)}/${checkedBucket(address.bucket)}`
    this.#timeoutMs = address.timeoutMs
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    await this.#request({ method: 'PUT', path: pathOf(key), bytes })
  }

  /** Undefined if there is no such object. */
  async get(key: string): Promise<Buffer | undefined> {
    return await this.#request({ method: 'GET', path: pathOf(key) })
  }

  async has(key: string): Promise<boolean> {
    return (await this.#request({ method: 'HEAD', path: pathOf(key) })) !== undefined
  }

  /** One that is not there is no error. */
  async delete(key: string): Promise<void> {
    await this.#request({ method: 'DELETE', path: pathOf(key) })
  }

  /**
   * What comes next in the keys that begin with `prefix`, which ends with a slash, up to the next
   * slash; page by page, as the service lists them. Names are as they stand in the answer, those
   * with other characters than ours in one escaped form or another.
   */
  async *names(prefix: string): AsyncIterable<string[]> {
    let token: string | undefined
    do {
      const before = token
      const query = ['delimiter=%2F', 'list-type=2', `prefix=${encoded(prefix)}`]
      if (token !== undefined) query.push(`continuation-token=${encoded(token)}`)
      const body = await this.#request({ method: 'GET', path: `?${query.join('&')}` })
      const page = parsePage(String(body))
      yield page.names
      token = page.next
      if (token !== undefined && token === before) {
        throw new S3Fault('bad_listing', 'the S3 service gives the same page for ever')
      }
    } while (token !== undefined)
  }

  async #request(request: S3Request): Promise<Buffer | undefined> {
    const signal = AbortSignal.timeout(this.#timeoutMs)
    for (const delayMs of [...retryDelaysMs, undefined]) {
      try {
        return await this.#attempt(request, signal)
      } catch (error) {
        if (signal.aborted) throw this.#timeout(request, error)
        if (delayMs === undefined || !isTransient(error as S3Fault)) throw error
      }
      await sleep(delayMs * (0.5 + Math.random() / 2), undefined, { signal }).catch((error) => {
        throw this.#timeout(request, error)
      })
    }
  }

  /** The body of the answer; undefined if there is no such object. */
  async #attempt(request: S3Request, signal: AbortSignal): Promise<Buffer | undefined> {
    const { method, path, bytes } = request
    // Signed each time, for a signature holds for minutes only; with the digest of the body, so that
    // the service refuses one that was damaged on its way.
    const digest = createHash('sha256')
      .update(bytes ?? '')
      .digest('hex')
    const signed = await this.#client.sign(this.#url + path, {
      method,
      headers: { 'x-amz-content-sha256': digest },
      body: bytes,
      redirect: 'manual',
      signal,
    })
    let response: Response
    let body: Buffer
    try {
      response = await fetch(signed)
      body = Buffer.from(await response.arrayBuffer())
    } catch (error) {
      throw new S3Fault('no_answer', `the S3 service does not answer ${said(request)}`, {
        cause: error,
      })
    }
    if (response.ok) return body
    const code = /<Code>(\w{1,64})<\/Code>/.exec(body.toString('latin1', 0, 4096))?.[1]
    // What stores or lists must never take it for done that something was not found.
    const mayBeMissing = method !== 'PUT' && !path.startsWith('?') && code !== 'NoSuchBucket'
    if (response.status === 404 && mayBeMissing) return undefined
    throw new S3Fault(
      code ?? `http_${response.status}`,
      `the S3 service answers ${said(request)} with ${response.status} ${code ?? ''}`.trim(),
      { status: response.status },
    )
  }

  #timeout(request: S3Request, cause: unknown): S3Fault {
    const message = `the S3 service did not answer ${said(request)} within ${this.#timeoutMs} ms`
    return new S3Fault('timeout', message, { cause })
  }
}

interface S3Request {
  method: 'PUT' | 'GET' | 'HEAD' | 'DELETE'
  /** After the bucket: that of an object, or the query of a listing. */
  path: string
  bytes?: Buffer
}

/** What the service refused, or did not answer; never holds the secret. */
class S3Fault extends Error {
  /** The service's own code, such as AccessDenied, or `http_<status>`, `no_answer` or `timeout`. */
  readonly code: string
  /** Undefined if there was no answer. */
  readonly status: number | undefined

  constructor(code: string, message: string, more: { status?: number; cause?: unknown } = {}) {
    super(message, { cause: more.cause })
    this.code = code
    this.status = more.status
  }
}

function isTransient({ code, status = 0 }: S3Fault): boolean {
  return code === 'no_answer' || status === 429 || status >= 500
}

function parsePage(body: string): { names: string[]; next: string | undefined } {
  // A portal or proxy that answers for the service must not look like an empty bucket.
  if (!body.includes('<ListBucketResult')) {
    throw new S3Fault('bad_listing', 'what answers for the S3 service does not list a bucket')
  }
  const found = body.matchAll(
    /<(?:Contents>.*?<Key|CommonPrefixes>.*?<Prefix)>(.*?)(?:\/|%2F)?<\/(?:Key|Prefix)>/gis,
  )
  const names = [...found].map(([, key]) => key.split(/\/|%2F/i).at(-1) as string)
  if (!/<IsTruncated>\s*true/i.test(body)) return { names, next: undefined }
  const next = /<NextContinuationToken>(.*?)<\/NextContinuationToken>/s.exec(body)?.[1]
  if (next === undefined) {
    throw new S3Fault('bad_listing', 'the S3 service does not say how its listing goes on')
  }
  return { names, next: unescaped(next) }
}

function unescaped(text: string): string {
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return text.replace(/&(?:(lt|gt|quot|apos|amp)|#(\d+)|#x([0-9a-f]+));/gi, (_, name, ten, hex) =>
    name ? entities[name] : String.fromCodePoint(ten ? Number(ten) : Number.parseInt(hex, 16)),
  )
}

function endpointUrl(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  // Not repeated in the message: it may hold a password.
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username || url.password) {
    throw new TypeError('the S3 endpoint must be an address like https://host:port, without a user')
  }
  return url.origin + url.pathname.replace(/\/+$/, '')
}

function checkedBucket(bucket: string): string {
  if (!/^[a-z0-9][a-z0-9._-]{1,62}$/i.test(bucket)) {
    throw new TypeError(`${JSON.stringify(bucket)} is not the name of an S3 bucket`)
  }
  return bucket
}

function pathOf(key: string): string {
  return `/${key.split('/').map(encoded).join('/')}`
}

/** As signatures want it: everything but the unreserved characters of RFC 3986. */
function encoded(text: string): string {
  const escaped = (char: string) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`
  return encodeURIComponent(text).replace(/[!'()*]/g, escaped)
}

function said({ method, path }: S3Request): string {
  return `${method} ${path}`
}
