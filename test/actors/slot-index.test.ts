import t from 'tap'
import { Book } from '../../src/actors/book.js'
import { rowsDigest } from '../../src/actors/digest.js'
import { letGoOfOldest } from '../../src/actors/let-go.js'
import { SlotIndex } from '../../src/actors/slot-index.js'
import { TransactionState } from '../../src/actors/transactions.js'
import { slotCount, slotOf } from '../../src/key.js'
import { keyOfName, tenant } from './engine-names.js'

const beyond = 600
const place = { shard: 0, shards: 1, shardOfSlot: new Uint8Array(slotCount) }
const fingerprint = { low: 1, high: 2 }

t.test('rows are found by slot while others come and are let go', async (t) => {
  const limits = { accountsMax: 1, transactionsMax: 1e6, letGo: { beyond, rows: 32 } }
  const book = new Book([1, 2], limits, place)
  const { transactions, letGo } = book
  letGo.projected = new Map([[0, 1e6]])
  let seq = 0
  const post = (count: number) => {
    for (const end = seq + count; seq < end; ) {
      seq += 1
      const at = { stream: 0, seq }
      transactions.add(tenant, keyOfName(`t:${seq}`), TransactionState.posted, fingerprint, at)
    }
    letGoOfOldest(book)
  }
  post(beyond)
  const index = new SlotIndex(book)
  // A block is let go each time before the next rows are looked at, here and as long as it takes.
  let looks = 0
  while (!index.advance(100) && looks < 100) {
    post(32)
    looks += 1
  }
  t.ok(letGo.filter.count > 0)
  t.ok(looks < 100, 'it comes to an end')
  for (let round = 0; round < 60; round++) {
    post(40)
    index.advance(100)
  }
  while (!index.advance(100));
  const slots = new Set(
    [...transactions.keys.rows()].map((row) => slotOf(transactions.keys.keyOf(row))),
  )
  for (const slot of slots) {
    const rows = [...transactions.keys.rows()].filter(
      (row) => slotOf(transactions.keys.keyOf(row)) === slot,
    )
    const expected = rowsDigest(book, { accounts: [], transactions: rows }, new Map())
    if (index.digestOf(slot, new Map()) !== expected) t.fail(`slot ${slot}`)
  }
})
