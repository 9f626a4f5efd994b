/**
 * Where snapshots are kept: bytes under names, of which a manifest comes last. A snapshot without
 * its manifest does not exist. What the bytes are worth is for the reader to check
 * (manifest.ts); a store only says whether they are there. Every call rejects with
 * `invalid_snapshot_name` for ids that are no UUIDs, and numbers of blocks beyond a million, before
 * they become part of a path or key; other errors are those of the server or system behind it.
 */
export interface SnapshotStore {
  /** The snapshots of a book, newest first. */
  list(bookId: string): Promise<StoredSnapshot[]>
  /** Begins a snapshot; nobody sees it before it is finished. Rejects if there is one of this id. */
  begin(name: SnapshotName): Promise<SnapshotSink>
  /** The bytes of a block; rejects with `damaged_snapshot` if there is no such block. */
  readBlock(name: SnapshotName, number: number): Promise<Buffer>
  /** Removes a snapshot, its manifest first; one that is not there, or not finished, is no error. */
  remove(name: SnapshotName): Promise<void>
  /**
   * Removes what builders that have ended, and removals that were cut off, have left; resolves with
   * the number of snapshots. Never touches one that is being built, or is finished.
   */
  sweep(bookId: string): Promise<number>
  /** Lets go of what the store holds open; sinks that are under way keep their own. */
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

/**
 * A snapshot that is being stored; one call after the other. After any that rejects, the only ones
 * that make sense are `finish` once more, if it was that, and `abandon`.
 */
export interface SnapshotSink {
  /** Stores a block; they come as 0, 1, 2, … */
  put(number: number, bytes: Buffer): Promise<void>
  /**
   * Stores the manifest: from when this resolves on, the snapshot is there and durable. If it
   * rejects, the snapshot may be there all the same; called again with the same manifest, it
   * resolves if that is so, or if it can still be done. Whoever does not ask again finds a whole
   * snapshot in the list, or none.
   */
  finish(manifest: Buffer): Promise<void>
  /**
   * Gives the snapshot up and removes what has been stored of it; nothing once `finish` has
   * resolved. What cannot be removed now, because a connection was lost, is left to the next sweep.
   */
  abandon(): Promise<void>
}

/** Which store, and how to reach it; plain data, for every thread opens its own. */
export type SnapshotStoreConfig =
  /** `timeoutMs`: milliseconds that one statement, or request with its repetitions, may take. */
  | { kind: 'postgres'; connectionString: string; timeoutMs: number }
  | { kind: 'directory'; path: string }
  | {
      kind: 's3'
      /** `https://host[:port]`, of any service that speaks S3; a path may follow. */
      endpoint: string
      region: string
      bucket: string
      /** In front of all keys, without slashes at its ends; may be empty. */
      prefix: string
      accessKeyId: string
      secretAccessKey: string
      timeoutMs: number
    }
