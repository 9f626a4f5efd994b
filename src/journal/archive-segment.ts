import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { StoredChunk } from './replay.js'

const pack = promisify(gzip)
const unpack = promisify(gunzip)

/** Bytes of chunks in a block, so that one record is read without unpacking much. */
const blockBytesTarget = 1 << 20

/** A file with the chunks of a stream from one seq to another, in blocks that are packed alone. */
export interface SegmentManifest {
  format: 1
  bookId: string
  stream: number
  firstSeq: number
  lastSeq: number
  /** Of the chunk before the first, and of the last, in hex. */
  digestBefore: string
  digestAfter: string
  chunks: number
  file: string
  bytes: number
  /** Of the whole file, in hex. */
  sha256: string
  blocks: SegmentBlock[]
}

export interface SegmentBlock {
  firstSeq: number
  lastSeq: number
  offset: number
  bytes: number
}

/** Writes a segment: blocks as they fill, and at last the manifest, without which it is not there. */
export class SegmentWriter {
  readonly #directory: string
  readonly #path: string
  readonly #handle: FileHandle
  readonly #hash = createHash('sha256')
  readonly #blocks: SegmentBlock[] = []
  #pending: Buffer[] = []
  #pendingBytes = 0
  #firstSeq = 0
  #lastSeq = 0
  #offset = 0
  #chunks = 0
  #isFinished = false

  static async open(directory: string, name: string): Promise<SegmentWriter> {
    const path = join(directory, name)
    return new SegmentWriter(directory, path, await open(path, 'w'))
  }

  private constructor(directory: string, path: string, handle: FileHandle) {
    this.#directory = directory
    this.#path = path
    this.#handle = handle
  }

  async add(chunk: StoredChunk): Promise<void> {
    // A record is never in two blocks.
    if (chunk.part === 0 && this.#pendingBytes >= blockBytesTarget) await this.#flush()
    if (this.#pending.length === 0) this.#firstSeq = chunk.firstSeq
    const bytes = encodeChunk(chunk)
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    this.#chunks += 1
    if (chunk.part === 0) this.#lastSeq = chunk.firstSeq + chunk.n - 1
  }

  /** Ends the file; resolves when it is on disk. */
  async finish(): Promise<Pick<SegmentManifest, 'chunks' | 'bytes' | 'sha256' | 'blocks'>> {
    await this.#flush()
    await this.#handle.sync()
    await this.#handle.close()
    await syncFolder(this.#directory)
    this.#isFinished = true
    const sha256 = this.#hash.digest('hex')
    return { chunks: this.#chunks, bytes: this.#offset, sha256, blocks: this.#blocks }
  }

  /** Gives the file up, unless it has been finished. */
  async close(): Promise<void> {
    if (this.#isFinished) return
    await this.#handle.close().catch(() => undefined)
    await rm(this.#path, { force: true })
  }

  async #flush(): Promise<void> {
    if (this.#pending.length === 0) return
    const bytes = await pack(Buffer.concat(this.#pending), { level: 6 })
    const { bytesWritten } = await this.#handle.write(bytes, 0, bytes.length, this.#offset)
    if (bytesWritten !== bytes.length) throw new Error(`${this.#path} could not be written`)
    this.#hash.update(bytes)
    const place = { offset: this.#offset, bytes: bytes.length }
    this.#blocks.push({ firstSeq: this.#firstSeq, lastSeq: this.#lastSeq, ...place })
    this.#offset += bytes.length
    this.#pending = []
    this.#pendingBytes = 0
  }
}

/** Makes a segment known: from when this resolves on, it is there. */
export async function writeManifest(directory: string, manifest: SegmentManifest): Promise<void> {
  const path = join(directory, manifestName(manifest.file))
  const file = await open(`${path}.part`, 'w')
  try {
    await file.writeFile(`${JSON.stringify(manifest, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.part`, path)
  await syncFolder(directory)
}

export async function readManifest(directory: string, file: string): Promise<SegmentManifest> {
  const path = join(directory, manifestName(file))
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ArchiveFault(`the archive has no ${path}: ${error.code}`)
  })
  const manifest = JSON.parse(text) as SegmentManifest
  if (manifest.format !== 1 || manifest.file !== file) {
    throw new ArchiveFault(`${path} is not the manifest of a segment that this program knows`)
  }
  return manifest
}

export function manifestName(file: string): string {
  return `${file}.json`
}

/** The chunks of a segment whose records are after `afterSeq`, up to those that begin by `toSeq`. */
export async function* readSegment(
  directory: string,
  manifest: SegmentManifest,
  { afterSeq, toSeq }: { afterSeq: number; toSeq: number },
): AsyncIterable<StoredChunk> {
  const file = await open(join(directory, manifest.file), 'r')
  try {
    for (const block of manifest.blocks) {
      if (block.lastSeq <= afterSeq || block.firstSeq > toSeq) continue
      const packed = Buffer.alloc(block.bytes)
      const { bytesRead } = await file.read(packed, 0, block.bytes, block.offset)
      if (bytesRead !== block.bytes) throw damaged(directory, manifest, 'it is cut off')
      const bytes = await unpack(packed).catch((error: Error) => {
        throw damaged(directory, manifest, error.message)
      })
      for (const chunk of decodeChunks(manifest.stream, bytes)) {
        if (chunk.firstSeq > afterSeq && chunk.firstSeq <= toSeq) yield chunk
      }
    }
  } finally {
    await file.close()
  }
}

/** Rejects unless the file is byte for byte the one that was written. */
export async function assertSegment(directory: string, manifest: SegmentManifest): Promise<void> {
  const file = await open(join(directory, manifest.file), 'r')
  const hash = createHash('sha256')
  for await (const bytes of file.createReadStream()) hash.update(bytes as Buffer)
  if (hash.digest('hex') !== manifest.sha256) {
    throw damaged(directory, manifest, 'its checksum is another')
  }
}

export async function syncFolder(directory: string): Promise<void> {
  const folder = await open(directory, 'r')
  await folder.sync().finally(() => folder.close())
}

/** An archive that is not there or not what was written. */
export class ArchiveFault extends Error {
  readonly code = 'archive_fault'
}

function damaged(directory: string, { file }: SegmentManifest, why: string): ArchiveFault {
  return new ArchiveFault(`${join(directory, file)} is damaged: ${why}`)
}

/** first_seq i64, part i16, n i32, epoch i32, prev 32 bytes, length i32, payload; big-endian. */
const chunkHeadBytes = 8 + 2 + 4 + 4 + 32 + 4

function encodeChunk({ firstSeq, part, n, epoch, prev, payload }: StoredChunk): Buffer {
  const bytes = Buffer.alloc(chunkHeadBytes + payload.length)
  let at = bytes.writeBigInt64BE(BigInt(firstSeq), 0)
  at = bytes.writeInt16BE(part, at)
  at = bytes.writeInt32BE(n, at)
  at = bytes.writeInt32BE(epoch, at)
  at += prev.copy(bytes, at)
  at = bytes.writeInt32BE(payload.length, at)
  payload.copy(bytes, at)
  return bytes
}

function* decodeChunks(stream: number, bytes: Buffer): Iterable<StoredChunk> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + chunkHeadBytes + bytes.readInt32BE(at + 50)
    yield {
      stream,
      firstSeq: Number(bytes.readBigInt64BE(at)),
      part: bytes.readInt16BE(at + 8),
      n: bytes.readInt32BE(at + 10),
      epoch: bytes.readInt32BE(at + 14),
      prev: bytes.subarray(at + 18, at + 50),
      payload: bytes.subarray(at + chunkHeadBytes, end),
    }
    at = end
  }
}
