import { createHash, createHmac } from 'node:crypto'

/** A request as it came in, and what a signature of AWS version 4 says to be signed in it. */
export interface SignedRequest {
  method: string
  /** As sent: path and, after a question mark, the query. */
  target: string
  /** By name in lower case. */
  headers: Record<string, string>
  /** Names in lower case, as the signature lists them. */
  signedHeaders: string[]
  payloadHash: string
}

/** What a request is signed with. */
export interface SigningKey {
  secretAccessKey: string
  region: string
  /** `20130524T000000Z` */
  time: string
}

/**
 * The signature of a request to S3, in hexadecimal, worked out from the description of AWS and not
 * from the library that signs: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
export function signatureOf(request: SignedRequest, key: SigningKey): string {
  const day = key.time.slice(0, 8)
  const scope = `${day}/${key.region}/s3/aws4_request`
  const text = ['AWS4-HMAC-SHA256', key.time, scope, sha256(canonicalRequest(request))].join('\n')
  const signing = [day, key.region, 's3', 'aws4_request'].reduce(
    (secret: string | Buffer, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${key.secretAccessKey}`,
  )
  return createHmac('sha256', signing).update(text).digest('hex')
}

export function sha256(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function canonicalRequest(request: SignedRequest): string {
  const { method, target, headers, signedHeaders, payloadHash } = request
  const [path, query = ''] = target.split('?')
  const parameters = query.split('&').filter((parameter) => parameter !== '')
  const pairs = parameters.map((parameter) => {
    const [name, value = ''] = parameter.split('=')
    return `${recoded(name)}=${recoded(value)}`
  })
  return [
    method,
    path.split('/').map(recoded).join('/'),
    pairs.sort().join('&'),
    ...signedHeaders.map((name) => `${name}:${headers[name]?.trim().replace(/ +/g, ' ')}`),
    '',
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n')
}

function recoded(text: string): string {
  const bytes = Buffer.from(decodeURIComponent(text))
  return [...bytes]
    .map((byte) => {
      const char = String.fromCharCode(byte)
      if (/[A-Za-z0-9._~-]/.test(char)) return char
      return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
}
