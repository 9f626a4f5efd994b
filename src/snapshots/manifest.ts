import { createHash } from 'node:crypto'
import type { Checkpoint } from '../journal/message-counts.js'
import { packr } from '../journal/record.js'

/**
 * The newest version of manifests and blocks that this program reads, and the one it writes: 2 of a
 * book that has let transactions go, otherwise 1, which knows nothing of that.
 */
export const snapshotVersion = 2

/** What a snapshot is made of, and of which book position it is. */
export interface SnapshotManifest {
  version: number
  /** A v7 UUID: ids in order are snapshots in order of their making. */
  id: string
  bookId: string
  /** Milliseconds since 1970. */
  createdAt: number
  generation: number
  /** Records of all streams up to it, those of earlier generations too. */
  records: number
  /** The book position: a place in every stream of the generation, closed under messages. */
  streams: SnapshotStream[]
  blocks: SnapshotBlock[]
}

export interface SnapshotStream {
  stream: number
  /** Slots that the stream owns. */
  slots: number[]
  /** Its last record, and the digest of the chunk that ends with it. */
  seq: number
  digest: Buffer
  /** Greatest time of a record, in milliseconds since 1970. */
  lastTimeMs: number
  /** Messages sent to each shard, and the number of the last one applied, by sending stream. */
  sent: number[]
  applied: [stream: number, message: number][]
  /** From here on the stream may have sent messages that had not been applied. */
  checkpoint: Checkpoint
  currencies: { code: string; scale: number }[]
  accounts: number
  transactions: number
  holds: number
  /** Absent if no transaction has been let go (actors/let-go.ts). */
  letGo?: {
    transactions: number
    horizon: [stream: number, seq: number][]
    coverage: [stream: number, seq: number][]
    /** Null: none had a v7 id. */
    newestIdMs: number | null
  }
}

export const blockKinds = ['accounts', 'transactions', 'holds', 'letGo'] as const
export type BlockKind = (typeof blockKinds)[number]

/** Rows of one kind, of one stream, in columns; its number is its place in `blocks`. */
export interface SnapshotBlock {
  stream: number
  kind: BlockKind
  rows: number
  /** The slots of its rows are within these, both included. */
  firstSlot: number
  lastSlot: number
  bytes: number
  /** SHA-256 of its bytes. */
  digest: Buffer
}

/** A snapshot that cannot be used; `code` says whether another one can be tried instead. */
export class SnapshotFault extends Error {
  readonly code: 'damaged_snapshot' | 'foreign_snapshot' | 'newer_version'

  constructor(code: SnapshotFault['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

const magic = Buffer.from('DAYBSNAP')
const versionAt = magic.length
const digestAt = versionAt + 4
const bodyAt = digestAt + 32

/** `DAYBSNAP`, u32 version (big-endian), SHA-256 of the rest, then the manifest as msgpack. */
export function encodeManifest(manifest: SnapshotManifest): Buffer {
  const body = packr.pack(manifest)
  const head = Buffer.alloc(bodyAt)
  magic.copy(head)
  head.writeUInt32BE(manifest.version, versionAt)
  createHash('sha256').update(body).digest().copy(head, digestAt)
  return Buffer.concat([head, body])
}

/** Throws a {@link SnapshotFault} `damaged_snapshot` or `newer_version`. */
export function decodeManifest(bytes: Buffer): SnapshotManifest {
  if (bytes.length < bodyAt || !bytes.subarray(0, versionAt).equals(magic)) {
    throw new SnapshotFault('damaged_snapshot', 'this is not the manifest of a snapshot')
  }
  const version = bytes.readUInt32BE(versionAt)
  if (version > snapshotVersion) {
    throw new SnapshotFault(
      'newer_version',
      `the snapshot is of version ${version}; this program reads up to ${snapshotVersion}`,
    )
  }
  const body = bytes.subarray(bodyAt)
  if (!digestOf(body).equals(bytes.subarray(digestAt, bodyAt))) {
    throw new SnapshotFault('damaged_snapshot', 'the manifest of the snapshot is damaged')
  }
  const manifest = packr.unpack(body) as SnapshotManifest
  if (manifest.version !== version) {
    throw new SnapshotFault('damaged_snapshot', 'the manifest of the snapshot names two versions')
  }
  return manifest
}

/** Throws `damaged_snapshot` unless `bytes` are those of the block. */
export function assertBlock(manifest: SnapshotManifest, number: number, bytes: Buffer): void {
  const block = manifest.blocks[number]
  if (bytes.length !== block.bytes || !digestOf(bytes).equals(block.digest)) {
    throw new SnapshotFault(
      'damaged_snapshot',
      `block ${number} (${block.kind} of stream ${block.stream}) of snapshot ${manifest.id} is damaged`,
    )
  }
}

export function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
