import t from 'tap'
import { Book } from '../../src/actors/book.js'
import { letGoOfOldest } from '../../src/actors/let-go.js'
import {
  type FindTransactions,
  type RecalledTransaction,
  Recalls,
} from '../../src/actors/recall.js'
import { TransactionState } from '../../src/actors/transactions.js'
import { UnderWay } from '../../src/actors/under-way.js'
import { slotCount } from '../../src/key.js'
import { keyOfName, tenant } from './engine-names.js'

const place = { shard: 0, shards: 1, shardOfSlot: new Uint8Array(slotCount) }
const limits = { accountsMax: 1, transactionsMax: 1e6, letGo: { beyond: 8, rows: 4 } }
const found: RecalledTransaction = {
  state: TransactionState.posted,
  fingerprint: { low: 1, high: 2 },
  ...{ stream: 0, seq: 1 },
}

t.test('what is brought back again and again is counted once', async (t) => {
  const { book, recalls, waiting } = bookWith(async (asked) => asked.map(() => found))
  const ids = Array.from({ length: 64 }, (_, number) => wordsOf(`t:${number}`))
  for (const words of ids) add(book, words)
  for (let round = 0; round < 20; round++) {
    for (const words of ids) recalls.holdsUp(tenant, [{ words, at: 0 }], waiting)
    while (!recalls.isIdle) await new Promise(setImmediate)
    letGoOfOldest(book)
  }
  t.ok(recalls.counts.oldIdsFound > 10 * ids.length)
  t.ok(book.letGo.filter.count <= ids.length, `${book.letGo.filter.count} ids let go`)
})

t.test('an id that is being decided on is not asked for', async (t) => {
  const { book, recalls, underWay, waiting } = bookWith(async (asked) => asked.map(() => undefined))
  const words = wordsOf('new')
  underWay.begin(tenant, words, 0)
  // Another id is let go that has all the bits of this one.
  book.letGo.add(tenant, words, { stream: 0, seq: 1 })
  // Somebody reads it before it is decided.
  const isHeldUp = recalls.holdsUp(tenant, [{ words, at: 0 }], waiting)
  add(book, words)
  while (!recalls.isIdle) await new Promise(setImmediate)
  t.notOk(isHeldUp)
  underWay.end(tenant, words, 0)
  t.ok(recalls.isSettled(tenant, words, 0), 'it is in memory')
})

function bookWith(find: FindTransactions) {
  const book = new Book([1, 2], limits, place)
  book.letGo.projected = new Map([[0, 1e6]])
  const underWay = new UnderWay()
  const recalls = new Recalls(book, underWay, find, () => letGoOfOldest(book))
  return { book, underWay, recalls, waiting: () => undefined }
}

function add(book: Book, [w0, w1, w2, w3]: Uint32Array): void {
  const { state, fingerprint, stream, seq } = found
  book.transactions.add(tenant, { w0, w1, w2, w3 }, state, fingerprint, { stream, seq })
  letGoOfOldest(book)
}

function wordsOf(name: string): Uint32Array {
  const { w0, w1, w2, w3 } = keyOfName(name)
  return Uint32Array.of(w0, w1, w2, w3)
}
