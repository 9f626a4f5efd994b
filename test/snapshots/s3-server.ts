import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { S3Address } from '../../src/snapshots/s3-bucket.js'
import type { Teardown } from '../postgres.js'
import { sha256, signatureOf } from './sigv4.js'

/**
 * What becomes of a request.
 *
 *     pass        it is carried out and answered
 *     503, 429    it is refused with that status, as a service does that is overrun
 *     404         it is refused, as by a proxy that knows nothing of the service
 *     cut         the connection is cut before anything is done
 *     cut answer  it is carried out, and the connection is cut in the middle of the answer
 *     hang        it is never answered, and the connection stays open
 */
export type S3Fate = 'pass' | 503 | 429 | 404 | 'cut' | 'cut answer' | 'hang'

export interface S3Request {
  method: string
  /** Of the object, decoded; empty for a listing. */
  key: string
  query: URLSearchParams
}

/** Time between the clocks of both sides that S3 puts up with. */
const skewMsMax = 15 * 60_000

/** Speaks as much S3 as the store needs, and believes no signature that it has not worked out itself. */
export class S3Server {
  /** Decides on each request. */
  onRequest: (request: S3Request) => S3Fate = () => 'pass'
  /** Changes what each upload brings, as a bad connection might. */
  onUpload: (body: Buffer) => Buffer = (body) => body
  /** Changes the body of each answer, as a damaged service might. */
  onBody: (body: Buffer, request: S3Request) => Buffer = (body) => body
  readonly objects = new Map<string, Buffer>()
  /** All requests, in order, `GET <key>`. */
  readonly requests: string[] = []
  /** Entries that a page of a listing holds. */
  pageSize = 1000
  readonly address: S3Address
  readonly #server: Server

  static async start(t: Teardown): Promise<S3Server> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    return new S3Server(server)
  }

  private constructor(server: Server) {
    this.#server = server
    this.address = {
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      region: 'eu-test-1',
      bucket: 'daybook-test',
      accessKeyId: 'AKIDAYBOOKTEST',
      secretAccessKey: 'a+secret/that=nobody&should see',
      timeoutMs: 20_000,
    }
    this.#server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      void this.#serve(incoming, outgoing)
    })
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    // An upload may be cut as well.
    const sent = await bodyOf(incoming).catch(() => undefined)
    if (sent === undefined) return
    const body = incoming.method === 'PUT' ? this.onUpload(sent) : sent
    const url = new URL(incoming.url as string, this.address.endpoint)
    const [, bucket, ...parts] = url.pathname.split('/').map(decodeURIComponent)
    const request = {
      method: incoming.method as string,
      key: parts.join('/'),
      query: url.searchParams,
    }
    this.requests.push(`${request.method} ${request.key}`)
    const fate = this.onRequest(request)
    if (fate === 'hang') return
    if (fate === 'cut') {
      incoming.socket.destroy()
      return
    }
    const refusal =
      typeof fate === 'number'
        ? { status: fate, code: fate === 404 ? 'NotFound' : 'SlowDown' }
        : this.#refusal(incoming, body, bucket)
    const answer = refusal ? errorAnswer(refusal) : this.#carryOut(request, body)
    const bytes = this.onBody(answer.body, request)
    outgoing.writeHead(answer.status, { 'content-length': bytes.length })
    if (fate === 'cut answer') {
      outgoing.write(bytes.subarray(0, bytes.length / 2), () => incoming.socket.destroy())
    } else {
      outgoing.end(request.method === 'HEAD' ? undefined : bytes)
    }
  }

  #refusal(
    incoming: IncomingMessage,
    body: Buffer,
    bucket: string | undefined,
  ): Refusal | undefined {
    const headers = incoming.headers as Record<string, string>
    const authorization =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
        headers.authorization ?? '',
      )
    if (authorization === null) return { status: 403, code: 'AccessDenied' }
    const [, accessKeyId, day, region, names, signature] = authorization
    const time = headers['x-amz-date'] ?? ''
    const payloadHash = headers['x-amz-content-sha256'] ?? ''
    const signedHeaders = names.split(';')
    const mustBeSigned = ['host', ...Object.keys(headers).filter((name) => /^x-amz-/.test(name))]
    if (accessKeyId !== this.address.accessKeyId) return { status: 403, code: 'InvalidAccessKeyId' }
    const expected = signatureOf(
      {
        method: incoming.method as string,
        target: incoming.url as string,
        headers,
        signedHeaders,
        payloadHash,
      },
      { secretAccessKey: this.address.secretAccessKey, region: this.address.region, time },
    )
    const isSigned =
      signature === expected &&
      region === this.address.region &&
      time.startsWith(day) &&
      mustBeSigned.every((name) => signedHeaders.includes(name))
    if (!isSigned) return { status: 403, code: 'SignatureDoesNotMatch' }
    if (Math.abs(Date.now() - timeOf(time)) > skewMsMax) {
      return { status: 403, code: 'RequestTimeTooSkewed' }
    }
    if (payloadHash !== sha256(body)) return { status: 400, code: 'XAmzContentSHA256Mismatch' }
    if (bucket !== this.address.bucket) return { status: 404, code: 'NoSuchBucket' }
    return undefined
  }

  #carryOut(request: S3Request, body: Buffer): Answer {
    const { method, key, query } = request
    if (method === 'GET' && key === '') return this.#page(query)
    if (method === 'PUT') {
      this.objects.set(key, body)
      return { status: 200, body: Buffer.alloc(0) }
    }
    if (method === 'DELETE') {
      this.objects.delete(key)
      return { status: 204, body: Buffer.alloc(0) }
    }
    const object = this.objects.get(key)
    return object === undefined
      ? errorAnswer({ status: 404, code: 'NoSuchKey' })
      : { status: 200, body: object }
  }

  /** One page of ListObjectsV2; the token, of characters that XML escapes, names the last entry. */
  #page(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter')
    const after = query.get('continuation-token')?.replace(/^<&>/, '') ?? ''
    const entries = new Set<string>()
    for (const key of [...this.objects.keys()].sort()) {
      if (!key.startsWith(prefix)) continue
      const end = delimiter ? key.indexOf(delimiter, prefix.length) : -1
      entries.add(end < 0 ? key : key.slice(0, end + 1))
    }
    const left = [...entries].filter((entry) => entry > after)
    const page = left.slice(0, this.pageSize)
    const isTruncated = page.length < left.length
    const text = [
      '<?xml version="1.0" encoding="UTF-8"?>',
      '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
      `<Prefix>${escaped(prefix)}</Prefix><IsTruncated>${isTruncated}</IsTruncated>`,
      isTruncated &&
        `<NextContinuationToken>${escaped(`<&>${page.at(-1)}`)}</NextContinuationToken>`,
      ...page.map((entry) =>
        entry.endsWith('/')
          ? `<CommonPrefixes><Prefix>${escaped(entry)}</Prefix></CommonPrefixes>`
          : `<Contents><Key>${escaped(entry)}</Key><Size>1</Size></Contents>`,
      ),
      '</ListBucketResult>',
    ]
    return { status: 200, body: Buffer.from(text.filter(Boolean).join('\n')) }
  }
}

interface Answer {
  status: number
  body: Buffer
}

interface Refusal {
  status: number
  code: string
}

function errorAnswer({ status, code }: Refusal): Answer {
  const body = `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>no</Message></Error>`
  return { status, body: Buffer.from(body) }
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of incoming) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

function timeOf(time: string): number {
  return Date.parse(time.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
}
