import t from 'tap'
import type { DatabaseConnection, Result } from '../../src/journal/database.js'
import { impatientDatabase } from '../../src/journal/impatient-database.js'
import { TestClock } from '../actors/test-clock.js'

const silenceMs = 60_000

/** A connection that is answered when the test says so, and knows whether it was closed. */
class SilentConnection implements DatabaseConnection {
  isClosed = false
  answer: (result: Result<never>) => void = () => undefined
  nextRow: (row: Buffer[]) => void = () => undefined

  query(): Promise<Result<never>> {
    return new Promise((resolve) => {
      this.answer = resolve
    })
  }

  copyIn(): Promise<string[]> {
    return new Promise(() => undefined)
  }

  async *copyOut(): AsyncIterable<Buffer[]> {
    for (;;) {
      yield await new Promise<Buffer[]>((resolve) => {
        this.nextRow = resolve
      })
    }
  }

  onNotice(): void {}

  close(): void {
    this.isClosed = true
  }

  end(): Promise<void> {
    return new Promise(() => undefined)
  }
}

async function connected() {
  const clock = new TestClock()
  const silent = new SilentConnection()
  const database = impatientDatabase({ connect: async () => silent }, clock, silenceMs)
  return { clock, silent, connection: await database.connect({ name: 'test' }) }
}

t.test('a statement that is not answered in time breaks the connection', async (t) => {
  const { clock, silent, connection } = await connected()
  const asked = t.rejects(connection.query('select 1'), { message: /said nothing for 60000 ms/ })
  clock.advance(silenceMs - 1)
  t.notOk(silent.isClosed)
  clock.advance(1)
  await asked
  t.ok(silent.isClosed)
})

t.test('one that is answered does not, however much time goes by afterwards', async (t) => {
  const { clock, silent, connection } = await connected()
  const asked = connection.query('select 1')
  silent.answer({ rows: [], rowCount: 0, command: 'SELECT' })
  t.equal((await asked).command, 'SELECT')
  clock.advance(silenceMs * 2)
  t.notOk(silent.isClosed)
})

t.test('rows may come for long, as long as they come', async (t) => {
  const { clock, silent, connection } = await connected()
  const rows = connection.copyOut('copy')[Symbol.asyncIterator]()
  for (let row = 0; row < 3; row++) {
    const next = rows.next()
    clock.advance(silenceMs - 1)
    silent.nextRow([Buffer.from([row])])
    t.same((await next).value, [Buffer.from([row])])
  }
  const last = t.rejects(rows.next(), { message: /said nothing/ })
  clock.advance(silenceMs)
  await last
  t.ok(silent.isClosed)
})

t.test(
  'nobody waits for ever for the server to take leave; batches are left to the writer',
  async (t) => {
    const { clock, silent, connection } = await connected()
    void connection.copyIn('copy', Buffer.alloc(0))
    clock.advance(silenceMs * 2)
    t.notOk(silent.isClosed, 'the writer has a deadline of its own')
    const ended = connection.end()
    clock.advance(silenceMs)
    await ended
    t.ok(silent.isClosed)
  },
)
