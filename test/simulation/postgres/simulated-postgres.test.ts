import t from 'tap'
import { Batch } from '../../../src/journal/batch.js'
import { digestChain } from '../../../src/journal/digest.js'
import { openGeneration } from '../../../src/journal/generation.js'
import { postgresStore } from '../../../src/journal/postgres-session.js'
import { headWord, plainPostingBytes, RecordKind } from '../../../src/journal/record.js'
import type { SealedBatch, StreamState } from '../../../src/journal/session.js'
import { readLayout, takeOver } from '../../../src/journal/take-over.js'
import { Choices } from '../choices.js'
import { Scheduler, Thread } from '../scheduler.js'
import { SimulatedPostgres } from './simulated-postgres.js'

t.test('a book is taken over, written to, and laid out anew', async (t) => {
  for (let seed = 0; seed < 50; seed++) {
    const scheduler = new Scheduler()
    const postgres = new SimulatedPostgres({ scheduler, choices: new Choices(seed) })
    const thread = new Thread(scheduler, 'main', (error) => {
      throw error
    })
    const database = postgres.databaseFor(thread, 5000)
    let done = false
    const work = (async () => {
      const connection = await database.connect({ name: 'daybook start' })
      const first = await takeOver(connection, 'me', await readLayout(connection), () => undefined)
      const session = await postgresStore(database).open()
      const state = await session.settle(1, 'me')
      const batch = oneRecord(1, state)
      await session.ensurePartition(1)
      await session.commit(batch)
      await session.confirm(1, state.epoch)
      const chunks = []
      for await (const chunk of session.readChunks(1, 0, 10)) chunks.push(chunk)
      const next = await openGeneration(connection, 'me', first, 3, () => undefined)
      await connection.end()
      done = true
      return { chunks, next, head: await session.readHead(1) }
    })()
    t.equal(await scheduler.run(() => done, 60_000), 'done')
    const rest = scheduler.run(() => false, 120_000)
    const { chunks, next, head } = await work
    await rest
    t.match(chunks, [{ stream: 1, firstSeq: 1, part: 0, n: 1 }])
    t.same(next.layout.streams, [2, 3, 4])
    t.equal(head.head, 1)
    t.ok(postgres.isIdle)
  }
})

/** A batch of one record that follows `state` in `stream`. */
function oneRecord(stream: number, state: StreamState): SealedBatch {
  const { head, digest, epoch } = state
  const batch = new Batch(stream)
  batch.restart(head + 1)
  const word = batch.add(plainPostingBytes)
  batch.words.fill(0, word, word + plainPostingBytes / 4)
  batch.words[word] = headWord(RecordKind.posting, 0)
  batch.words[word + 1] = plainPostingBytes
  const sealed = batch.seal(epoch, digest, digestChain())
  const newDigest = sealed.digest
  return { stream, epoch, head, digest, newHead: head + 1, newDigest, copy: sealed.copy }
}
