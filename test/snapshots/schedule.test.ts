import t from 'tap'
import { type LastSnapshot, SnapshotSchedule } from '../../src/snapshots/schedule.js'
import { TestClock } from '../actors/test-clock.js'

const policy = { records: 100, periodMs: 60_000 }

t.test('a snapshot is due after so many records', async (t) => {
  const { pass, book, built } = schedule({ generation: 2, records: 500, createdAt: 0 })
  book.records = 599
  await pass(10)
  t.same(built, [])
  book.records = 600
  await pass(1)
  t.same(built, [600])
  await pass(10)
  t.same(built, [600], 'not again before it is due')
  book.records = 700
  await pass(1)
  t.same(built, [600, 700])
})

t.test('or after some time, if there is any record', async (t) => {
  const { pass, book, built } = schedule({ generation: 2, records: 500, createdAt: 0 })
  book.records = 500
  await pass(70)
  t.same(built, [])
  book.records = 501
  await pass(1)
  t.same(built, [501])
  book.records = 502
  await pass(59)
  t.same(built, [501])
  await pass(2)
  t.same(built, [501, 502])
})

t.test('or in a new generation, at once', async (t) => {
  const { pass, book, built } = schedule({ generation: 1, records: 500, createdAt: 0 })
  book.records = 0
  await pass(1)
  t.same(built, [0])
  await pass(100)
  t.same(built, [0])
})

t.test('a book without any snapshot has one when it has moved', async (t) => {
  const first = schedule(undefined, 1)
  first.book.records = 0
  await first.pass(100)
  t.same(first.built, [])
  first.book.records = 3
  await first.pass(100)
  t.same(first.built, [3])
})

t.test('after a failure it waits a while, and goes on', async (t) => {
  const { pass, book, built, failures } = schedule({ generation: 2, records: 0, createdAt: 0 })
  book.records = 100
  book.fails = true
  await pass(50)
  t.equal(failures.length, 1)
  book.fails = false
  await pass(9)
  t.same(built, [])
  await pass(3)
  t.same(built, [100])
})

t.test('while nobody says how many records there are, none is built', async (t) => {
  const { pass, book, built } = schedule({ generation: 1, records: 0, createdAt: 0 })
  book.records = undefined
  await pass(100)
  t.same(built, [])
})

t.test('one at a time, and a stop gives up the one that is being built', async (t) => {
  const { pass, book, built, stop, clock } = schedule({ generation: 2, records: 0, createdAt: 0 })
  book.records = 100
  book.hangs = true
  await pass(300)
  t.equal(book.begun, 1)
  await stop()
  book.hangs = false
  clock.advance(10_000)
  await pass(10)
  t.equal(book.begun, 1)
  t.same(built, [])
})

/** A schedule in generation 2, on a clock of which `pass` lets seconds go by. */
function schedule(last: LastSnapshot | undefined, generation = 2) {
  const clock = new TestClock(0)
  const book: { records: number | undefined; fails: boolean; hangs: boolean; begun: number } = {
    ...{ records: 0, fails: false, hangs: false, begun: 0 },
  }
  const built: number[] = []
  const failures: Error[] = []
  const scheduled = new SnapshotSchedule(
    {
      ...{ clock, policy, generation },
      records: async () => book.records,
      build: async (signal) => {
        book.begun += 1
        if (book.fails) throw new Error('out of reach')
        if (book.hangs) {
          await new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new Error('given up')))
          })
        }
        const records = book.records ?? 0
        built.push(records)
        return { generation, records, createdAt: clock.now() }
      },
      onFailed: (error) => failures.push(error),
    },
    last,
  )
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      clock.advance(1000)
      await new Promise(setImmediate)
    }
  }
  return { pass, book, built, failures, clock, stop: () => scheduled.stop() }
}
