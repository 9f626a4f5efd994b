import type { Clock } from '../clock.js'
import type { ConnectOptions, Database, DatabaseConnection } from './database.js'

/** More than any statement of ours waits for locks, or for old backends to end. */
const silenceMsMax = 60_000

/**
 * A database that is given up when it falls silent: a connection on which the server has owed an
 * answer for `silenceMs` ends, and what waits for it rejects. Without this a peer that is gone
 * without a word, behind a firewall that dropped the connection, would keep a start waiting for as
 * long as the kernel does. Batches are left out: the writer has deadlines of its own.
 */
export function impatientDatabase(
  database: Database,
  clock: Clock,
  silenceMs = silenceMsMax,
): Database {
  return {
    async connect(options: ConnectOptions) {
      const connection = await database.connect(options)
      const patience = { connection, clock, silenceMs }
      return {
        query: (text, values) => within(patience, connection.query(text, values)),
        copyIn: (text, rows) => connection.copyIn(text, rows),
        copyOut: (text) => rowsWithin(patience, connection.copyOut(text)),
        onNotice: (listener) => connection.onNotice(listener),
        close: () => connection.close(),
        end: () => within(patience, connection.end()).catch(() => undefined),
      }
    },
  }
}

interface Patience {
  connection: DatabaseConnection
  clock: Clock
  silenceMs: number
}

async function* rowsWithin(
  patience: Patience,
  rows: AsyncIterable<Buffer[]>,
): AsyncIterable<Buffer[]> {
  const iterator = rows[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await within(patience, iterator.next())
      if (next.done === true) return
      yield next.value
    }
  } finally {
    void iterator.return?.()
  }
}

function within<T>({ connection, clock, silenceMs }: Patience, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.schedule(silenceMs, () => {
      connection.close()
      reject(new Error(`Postgres has said nothing for ${silenceMs} ms`))
    })
    answer.finally(() => timer.cancel()).then(resolve, reject)
  })
}
