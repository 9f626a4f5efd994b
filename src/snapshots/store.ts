/**
 * Where snapshots are kept: bytes under names, of which a manifest comes last. A snapshot without
 * its manifest does not exist. What the bytes are worth is for the reader to check
 * (manifest.ts); a store only says whether they are there.
 */
export interface SnapshotStore {
  /** The snapshots of a book, newest first. */
  list(bookId: string): Promise<StoredSnapshot[]>
  /** Begins a snapshot; nobody sees it before it is finished. */
  begin(name: SnapshotName): Promise<SnapshotSink>
  /** The bytes of a block; rejects with `damaged_snapshot` if there is no such block. */
  readBlock(name: SnapshotName, number: number): Promise<Buffer>
  /** Removes a snapshot, its manifest first; one that is not there is no error. */
  remove(name: SnapshotName): Promise<void>
  /** Removes what snapshots that nobody is building any more have left; returns their number. */
  sweep(bookId: string): Promise<number>
  close(): Promise<void>
}

export interface SnapshotName {
  bookId: string
  /** A v7 UUID. */
  id: string
}

export interface StoredSnapshot extends SnapshotName {
  /** The manifest as it was stored. */
  manifest: Buffer
}

/** A snapshot that is being stored. */
export interface SnapshotSink {
  /** Stores a block; they come as 0, 1, 2, … */
  put(number: number, bytes: Buffer): Promise<void>
  /** Stores the manifest: from when this resolves on, the snapshot is there and durable. */
  finish(manifest: Buffer): Promise<void>
  /** Gives the snapshot up and removes what has been stored of it. */
  abandon(): Promise<void>
}

/** Which store, and how to reach it; plain data, for every thread opens its own. */
export type SnapshotStoreConfig =
  | { kind: 'postgres'; connectionString: string; timeoutMs: number }
  | { kind: 'directory'; path: string }
  | {
      kind: 's3'
      /** `https://host[:port]`, of any service that speaks S3. */
      endpoint: string
      region: string
      bucket: string
      /** In front of all names, without slashes at its ends; may be empty. */
      prefix: string
      accessKeyId: string
      secretAccessKey: string
      timeoutMs: number
    }
