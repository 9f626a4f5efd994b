import t from 'tap'
import { notStarted, StartProgress } from '../src/start-progress.js'
import { TestClock } from './actors/test-clock.js'

t.test(
  'the steps of the shards are added up, and the time left is that of the slowest',
  async (t) => {
    const clock = new TestClock()
    const progress = new StartProgress(clock)
    t.same(progress.status, notStarted)
    progress.note(1, { step: 'snapshot', stream: 2, done: 0, total: 1000 })
    clock.advance(1000)
    progress.note(1, { step: 'snapshot', stream: 2, done: 250, total: 1000 })
    progress.note(0, { step: 'journal', stream: 1, done: 0, total: 90 })
    t.match(progress.status, { rowsDone: 250, rowsTotal: 1000, recordsTotal: 90, secondsLeft: 3 })
    progress.note(1, { step: 'snapshot', stream: 2, done: 1000, total: 1000 })
    progress.note(1, { step: 'journal', stream: 2, done: 0, total: 10 })
    clock.advance(2000)
    progress.note(0, { step: 'journal', stream: 1, done: 10, total: 90 })
    progress.note(1, { step: 'journal', stream: 2, done: 5, total: 10 })
    t.same(progress.status, {
      ...{ rowsDone: 1000, rowsTotal: 1000, recordsDone: 15, recordsTotal: 100, secondsLeft: 16 },
      shards: [
        { shard: 0, step: 'journal', stream: 1, done: 10, total: 90 },
        { shard: 1, step: 'journal', stream: 2, done: 5, total: 10 },
      ],
    })
    progress.restart(1)
    t.match(progress.status, { rowsDone: 0, recordsDone: 10, shards: { length: 1 } })
  },
)
