import t from 'tap'
import type { Clock } from '../../src/clock.js'
import type { StoredChunk } from '../../src/journal/replay.js'
import type { JournalSession } from '../../src/journal/session.js'
import { Pace, pacedJournal } from '../../src/snapshots/paced-stores.js'

t.test('no statement is open while a builder rests', async (t) => {
  let isOpen = false
  let timeMs = 0
  let rests = 0
  const clock: Pick<Clock, 'monotonic' | 'schedule'> = {
    monotonic: () => {
      timeMs += 10
      return timeMs
    },
    schedule(_delayMs, run) {
      rests += 1
      t.equal(isOpen, false)
      run()
      return { cancel: () => undefined }
    },
  }
  const session: Pick<JournalSession, 'readChunks'> = {
    async *readChunks(stream, afterSeq, toSeq) {
      isOpen = true
      for (let firstSeq = afterSeq + 1; firstSeq <= toSeq; firstSeq++) {
        yield { stream, firstSeq } as StoredChunk
      }
      isOpen = false
    },
  }
  const store = { open: async () => session as JournalSession }
  const paced = await pacedJournal(store, new Pace(clock as Clock, 0.5)).open()
  let seq = 7
  for await (const { firstSeq } of paced.readChunks(1, 7, 10_000)) {
    seq += 1
    if (firstSeq !== seq) return t.fail(`${firstSeq} in place of ${seq}`)
  }
  t.equal(seq, 10_000)
  t.ok(rests > 1)
})
