import type { Clock } from '../clock.js'
import type { JournalSession, JournalStore } from '../journal/session.js'
import type { SnapshotSink, SnapshotStore } from './store.js'

/**
 * Records that are read between two rests. No statement is open during a rest: Postgres cannot
 * clean up behind the writer while one is, and each commit takes longer than the one before.
 */
const restRecords = 2048
/** On a busy machine work takes long because it waits for a core, and need not rest for that too. */
const restMsMax = 150

/**
 * Lets a builder rest so that it works only a share of the time: whoever posts meanwhile needs the
 * cores, and Postgres, more. What has been done since the last rest counts, whoever did it.
 */
export class Pace {
  readonly #clock: Clock
  readonly #share: number
  #workedFrom: number

  /** `share` is above 0 and at most 1, which never rests. */
  constructor(clock: Clock, share: number) {
    this.#clock = clock
    this.#share = share
    this.#workedFrom = clock.monotonic()
  }

  async rest(): Promise<void> {
    const workedMs = this.#clock.monotonic() - this.#workedFrom
    const restMs = Math.min(workedMs / this.#share - workedMs, restMsMax)
    if (restMs >= 1) {
      await new Promise<void>((resolve) => void this.#clock.schedule(restMs, resolve))
    }
    this.#workedFrom = this.#clock.monotonic()
  }
}

/** The journal, read with rests. */
export function pacedJournal(store: JournalStore, pace: Pace): JournalStore {
  return { open: async () => pacedSession(await store.open(), pace) }
}

function pacedSession(session: JournalSession, pace: Pace): JournalSession {
  return {
    commit: (batch) => session.commit(batch),
    settle: (stream, owner) => session.settle(stream, owner),
    confirm: (stream, epoch) => session.confirm(stream, epoch),
    ensurePartition: (seq) => session.ensurePartition(seq),
    readHead: (stream) => session.readHead(stream),
    close: () => session.close(),
    async *readChunks(stream, afterSeq, toSeq) {
      for (let from = afterSeq; from < toSeq; from += restRecords) {
        yield* session.readChunks(stream, from, Math.min(from + restRecords, toSeq))
        await pace.rest()
      }
    },
  }
}

/** Snapshots, read and stored with rests. */
export function pacedSnapshots(store: SnapshotStore, pace: Pace): SnapshotStore {
  return {
    list: (bookId) => store.list(bookId),
    begin: async (name) => pacedSink(await store.begin(name), pace),
    readBlock: async (name, number) => {
      await pace.rest()
      return await store.readBlock(name, number)
    },
    remove: (name) => store.remove(name),
    sweep: (bookId) => store.sweep(bookId),
    close: () => store.close(),
  }
}

function pacedSink(sink: SnapshotSink, pace: Pace): SnapshotSink {
  return {
    put: async (number, bytes) => {
      await sink.put(number, bytes)
      await pace.rest()
    },
    finish: (manifest) => sink.finish(manifest),
    abandon: () => sink.abandon(),
  }
}
