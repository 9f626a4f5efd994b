import type { StoredChunk } from './replay.js'

/**
 * One session with the journal's store, as the writer and recovery need it: a port, so that a
 * simulation can stand in for Postgres. The real one is postgres-session.ts.
 */
export interface JournalSession {
  /**
   * One transaction: COPY of the chunks, then the fence, then commit. Resolves when the commit is
   * durable; rejects with {@link JournalFault} `fenced`, or with any other error when the outcome
   * is not known.
   */
  commit(batch: SealedBatch): Promise<void>
  /**
   * Makes this session the stream's writer: ends the backend that wrote before, then raises the
   * epoch under the row's lock, if the stream still belongs to `owner`. What the stream's head
   * says afterwards is final. Rejects with `fenced` if it belongs to somebody else.
   */
  settle(stream: number, owner: string): Promise<StreamState>
  /** Rejects with `fenced` unless the stream is still in `epoch`. */
  confirm(stream: number, epoch: number): Promise<void>
  /** Makes sure that there is room for records up to `seq`. Returns the last seq there is room for. */
  ensurePartition(seq: number): Promise<number>
  /** The chunks of a stream after seq `afterSeq`, up to and with `toSeq`, in order. */
  readChunks(stream: number, afterSeq: number, toSeq: number): AsyncIterable<StoredChunk>
  /** Head and digest of a stream as they are now. */
  readHead(stream: number): Promise<StreamState>
  /** Ends the session at once, whatever is under way. */
  close(): void
}

export interface JournalStore {
  /** Opens a session; rejects if the store cannot be reached. */
  open(): Promise<JournalSession>
}

export interface SealedBatch {
  stream: number
  epoch: number
  /** State of the stream before and after the batch. */
  head: number
  digest: Buffer
  newHead: number
  newDigest: Buffer
  /** The bytes of the binary COPY. */
  copy: Buffer
}

export interface StreamState {
  epoch: number
  head: number
  digest: Buffer
}

export type JournalFaultCode = 'fenced' | 'newer_version' | 'broken_chain' | 'unsafe_settings'

/** A fault of the journal that has a name; anything else is a fault of the connection. */
export class JournalFault extends Error {
  readonly code: JournalFaultCode

  constructor(code: JournalFaultCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}
