import t from 'tap'
import { TransactionState } from '../../src/actors/transactions.js'
import { recordedTransaction, transactionView } from '../../src/api/transaction-view.js'
import { packSides, RecordKind, Side } from '../../src/journal/record.js'
import { formatKey, keyToBytes } from '../../src/key.js'
import { keyIn } from '../actors/scripted-shards.js'
import { bodyRecord, plainRecord, postingBody, recordedAtMs } from './crafted-records.js'

const [id, cash, ada, ben, target] = [0, 1, 2, 3, 4].map((slot) => keyIn(slot, 1))
const text = { id: formatKey(id), cash: formatKey(cash), ada: formatKey(ada), ben: formatKey(ben) }
const across = packSides(Side.elsewhere, Side.striped)
const posted = TransactionState.posted

t.test('a plain posting is the same transaction in its home and where its id lives', async (t) => {
  for (const applied of [false, true]) {
    for (const sides of [0, across]) {
      const words = plainRecord({ applied, id, debit: cash, credit: ada, sides })
      t.same(shown(words, posted), {
        id: text.id,
        type: 'transaction',
        status: 'posted',
        postings: [{ debit: text.cash, credit: text.ada, amount: '12.50', currency: 'EUR' }],
        effectiveDate: '1993-01-05',
        recordedAt: new Date(recordedAtMs).toISOString(),
        code: 7,
      })
    }
  }
})

t.test('any other transaction is the same in both, too', async (t) => {
  const body = {
    name: 'pay:1',
    postings: [postingBody(cash, ada, 1250n), postingBody(ada, ben, 35n)],
    effectiveDate: 8405,
    expiresAt: BigInt(Date.UTC(2099, 0, 1)),
    reference: 'REF',
    metadata: { a: 1 },
  }
  const home = bodyRecord({ kind: RecordKind.transaction, id, pending: true }, body)
  const follows = {
    ...body,
    sides: [across, across],
    of: RecordKind.transaction,
    cause: [4, 77],
    message: 3,
  }
  const applied = bodyRecord({ kind: RecordKind.applied, id, pending: true }, follows)
  const view = shown(applied, TransactionState.pending)
  t.same(view, shown(home, TransactionState.pending))
  t.match(view, {
    name: 'pay:1',
    type: 'hold',
    status: 'pending',
    postings: [{ amount: '12.50' }, { debit: text.ada, credit: text.ben, amount: '0.35' }],
    expiresAt: '2099-01-01T00:00:00.000Z',
    metadata: { a: 1 },
  })
  for (const field of ['of', 'cause', 'message', 'sides']) t.notOk(field in view, field)
  const plain = bodyRecord({ kind: RecordKind.applied, id }, { ...follows, expiresAt: undefined })
  t.equal(shown(plain, posted).type, 'transaction')
})

t.test('an applied record of anything else is shown as what it follows', async (t) => {
  for (const [of, type] of [
    [RecordKind.holdPosted, 'post'],
    [RecordKind.holdVoided, 'void'],
    [RecordKind.reversal, 'reversal'],
  ] as const) {
    const body = {
      of,
      cause: [4, 77],
      message: 3,
      target: keyToBytes(target),
      postings: [],
      effectiveDate: 8405,
    }
    const view = shown(bodyRecord({ kind: RecordKind.applied, id }, body), posted)
    t.match(view, { type, target: formatKey(target), postings: [] })
  }
})

t.test(
  'postings that a void names to move nothing are not shown; those of a post are',
  async (t) => {
    const body = {
      target: keyToBytes(target),
      sides: [0, across],
      postings: [postingBody(cash, ada, 0n), postingBody(cash, ben, 0n)],
      released: [1250n, 100n],
      effectiveDate: 8405,
    }
    t.same(shown(bodyRecord({ kind: RecordKind.holdVoided, id }, body), posted).postings, [])
    const part = { ...body, postings: [body.postings[0], postingBody(cash, ben, 99n)] }
    t.match(shown(bodyRecord({ kind: RecordKind.holdPosted, id }, part), posted).postings, [
      { credit: text.ada, amount: '0.00' },
      { credit: text.ben, amount: '0.99' },
    ])
  },
)

t.test('what is left of a hold is shown in the scale of its postings', async (t) => {
  const words = bodyRecord(
    { kind: RecordKind.transaction, id, pending: true },
    { postings: [postingBody(cash, ada, 1250n)], sides: [across], effectiveDate: 8405 },
  )
  t.same(transactionView(words, TransactionState.pending, { remaining: [250n] }).remaining, [
    '2.50',
  ])
})

t.test('a part of a transaction is not taken for the whole', async (t) => {
  const part = { of: RecordKind.transaction, cause: [4, 77], message: 3, effectiveDate: 8405 }
  const words = bodyRecord({ kind: RecordKind.applied, id }, part)
  t.throws(() => recordedTransaction(words), RangeError)
  const expired = bodyRecord(
    { kind: RecordKind.applied, id },
    { ...part, of: RecordKind.holdExpired, postings: [] },
  )
  t.throws(() => shown(expired, posted), RangeError)
})

/** As it goes out: JSON has no fields that are undefined. */
function shown(words: Uint32Array, state: number) {
  return JSON.parse(JSON.stringify(transactionView(words, state, {})))
}
