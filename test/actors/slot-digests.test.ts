import t from 'tap'
import { Book } from '../../src/actors/book.js'
import { SlotDigests } from '../../src/actors/slot-digests.js'
import { slotCount } from '../../src/key.js'
import { TestClock } from './test-clock.js'

t.test('a digest waits until what it rests on is durable, and not too many wait', async (t) => {
  const place = { shard: 0, shards: 1, shardOfSlot: new Uint8Array(slotCount) }
  const book = new Book([1, 2], { accountsMax: 1, transactionsMax: 1 }, place)
  const seqs = { written: 5, durable: 3 }
  const digests = new SlotDigests(book, new TestClock(), {
    written: () => seqs.written,
    durable: () => seqs.durable,
  })
  let answered = 0
  const asked = Array.from({ length: 64 }, async () => {
    const answer = await digests.of(0)
    answered += 1
    return answer
  })
  t.equal(await digests.of(1), undefined, 'one too many')
  digests.onDurable(4)
  await new Promise(setImmediate)
  t.equal(answered, 0)
  digests.onDurable(5)
  t.same(await Promise.all(asked), Array(64).fill({ seq: 5, horizon: [], digest: 0n }))
  seqs.durable = 5
  t.same(
    await digests.of(1),
    { seq: 5, horizon: [], digest: 0n },
    'there is room again, and nothing to wait for',
  )
})
