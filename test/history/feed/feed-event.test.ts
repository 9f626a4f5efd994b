import t from 'tap'
import { type FeedEvent, feedEvent } from '../../../src/history/feed/feed-event.js'
import { digestChain, emptyDigest } from '../../../src/journal/digest.js'
import { packSides, RecordFlag, RecordKind, Side } from '../../../src/journal/record.js'
import { recordJson } from '../../../src/journal/record-json.js'
import { Replay } from '../../../src/journal/replay.js'
import { goldenJournals, storeOfGolden } from '../../journal/golden-journal.js'
import { key, packed, uuid } from '../../journal/raw-records.js'
import { czk, plainPosting, unknownHead, wordsOf } from './feed-records.js'

const place = { stream: 5, seq: 3 }
const eventOf = (bytes: Buffer) => feedEvent(wordsOf(bytes), 0, place)

/** Of record 3 of stream 5, as test/journal/raw-records.ts writes its header. */
const common = {
  id: '5-3',
  version: 1,
  tenant: 4_000_000_000,
  position: '5-3',
  time: '2024-03-01T10:00:03.003Z',
  correlationId: uuid(0xc0),
} as const
const day = 19_783
const effectiveDate = '2024-03-01'

t.test('a plain posting is a transaction', async (t) => {
  t.same(eventOf(plainPosting({ seq: 3 }, { code: 7 })), {
    ...common,
    type: 'transaction.posted',
    accounts: [uuid(1), uuid(2)],
    data: {
      id: uuid(3),
      postings: [{ debit: uuid(1), credit: uuid(2), amount: '125.50', currency: 'CZK' }],
      ...{ effectiveDate, code: 7 },
    },
  })
})

t.test('a transaction has all that it was given, and each account once', async (t) => {
  const attributes = {
    ...{ name: 'rent-1', code: 1, reference: 'r', description: 'd', category: 'c', number: 'n' },
    metadata: { paid: true, floor: 2, note: 'x' },
  }
  const postings = [czk(1, 2, 1n), czk(1, 4, 2n ** 63n - 1n)]
  const body = { ...attributes, postings, effectiveDate: day }
  const flags = RecordFlag.imported
  t.same(eventOf(packed(RecordKind.transaction, { seq: 3, flags }, body)), {
    ...common,
    type: 'transaction.posted',
    accounts: [uuid(1), uuid(2), uuid(4)],
    data: {
      id: uuid(3),
      postings: [
        { debit: uuid(1), credit: uuid(2), amount: '0.01', currency: 'CZK' },
        { debit: uuid(1), credit: uuid(4), amount: '92233720368547758.07', currency: 'CZK' },
      ],
      ...{ effectiveDate, imported: true, ...attributes },
    },
  })
})

t.test('a hold is placed, and says until when', async (t) => {
  const body = { postings: [czk(1, 2, 500n)], effectiveDate: day, expiresAt: 1_709_290_800_000n }
  const event = eventOf(packed(RecordKind.transaction, { seq: 3, flags: RecordFlag.pending }, body))
  t.match(event, { type: 'hold.placed', data: { expiresAt: '2024-03-01T11:00:00.000Z' } })
  t.same(event?.accounts, [uuid(1), uuid(2)])
})

const follow = { target: key(9), effectiveDate: day }
const followed = { id: uuid(3), target: uuid(9), effectiveDate }
const posting = { debit: uuid(1), credit: uuid(2), currency: 'CZK' }

for (const { name, kind, body, type, data } of [
  {
    name: 'a hold is posted in part, and goes on with the rest',
    kind: RecordKind.holdPosted,
    body: { ...follow, postings: [czk(1, 2, 200n)], kept: true },
    type: 'hold.posted',
    data: { ...followed, postings: [{ ...posting, amount: '2.00' }], kept: true },
  },
  {
    name: 'a hold is posted, and the rest released',
    kind: RecordKind.holdPosted,
    body: { ...follow, postings: [czk(1, 2, 200n)], released: [300n] },
    type: 'hold.posted',
    data: { ...followed, postings: [{ ...posting, amount: '2.00', released: '3.00' }] },
  },
  {
    name: 'a hold is voided',
    kind: RecordKind.holdVoided,
    body: { ...follow, postings: [czk(1, 2, 0n)], released: [500n] },
    type: 'hold.voided',
    data: { ...followed, postings: [{ ...posting, amount: '0.00', released: '5.00' }] },
  },
  {
    name: 'a hold expires',
    kind: RecordKind.holdExpired,
    body: { ...follow, postings: [czk(1, 2, 0n)], released: [500n] },
    type: 'hold.expired',
    data: { ...followed, postings: [{ ...posting, amount: '0.00', released: '5.00' }] },
  },
  {
    name: 'a transaction is reversed',
    kind: RecordKind.reversal,
    body: { ...follow, postings: [czk(1, 2, 700n)], description: 'a mistake' },
    type: 'transaction.reversed',
    data: { ...followed, postings: [{ ...posting, amount: '7.00' }], description: 'a mistake' },
  },
]) {
  t.test(name, async (t) => {
    const expected = { ...common, type, accounts: [uuid(1), uuid(2)], data }
    t.same(eventOf(packed(kind, { seq: 3 }, body)), expected)
  })
}

t.test('an account is created, with its limits as decimals', async (t) => {
  const made = { name: 'customer:ada', currency: 'CZK', class: 'liability', type: 'savings' }
  const body = { ...made, scale: 2, overdraftLimit: null, minimumBalance: 10_000n, striped: true }
  t.same(eventOf(packed(RecordKind.accountCreated, { seq: 3 }, body)), {
    ...common,
    type: 'account.created',
    accounts: [uuid(3)],
    data: { id: uuid(3), ...made, striped: true, overdraftLimit: null, minimumBalance: '100.00' },
  })
})

t.test('an account is changed, and its limits are whole minor units', async (t) => {
  const body = { status: 'frozen', overdraftLimit: 5n, minimumBalance: 7, metadata: { a: 'b' } }
  t.same(eventOf(packed(RecordKind.accountChanged, { seq: 3 }, body)), {
    ...common,
    type: 'account.changed',
    accounts: [uuid(3)],
    data: {
      ...{ id: uuid(3), status: 'frozen', metadata: { a: 'b' } },
      ...{ overdraftLimitMinor: '5', minimumBalanceMinor: '7' },
    },
  })
})

t.test('a fact names all postings, and of the accounts those that it reaches here', async (t) => {
  const sides = [
    packSides(Side.here, Side.elsewhere),
    packSides(Side.elsewhere, Side.striped),
    packSides(Side.elsewhere, Side.elsewhere),
  ]
  const postings = [czk(1, 2, 100n), czk(3, 4, 100n), czk(5, 6, 100n)]
  const body = { postings, sides, effectiveDate: day }
  const event = eventOf(packed(RecordKind.transaction, { seq: 3, flags: 128 }, body))
  t.same(event?.accounts, [uuid(1), uuid(4)])
  t.match(event?.data, { postings: [{}, {}, {}] })
})

t.test('what has moved here because of a plain posting elsewhere names it', async (t) => {
  const sides = packSides(Side.elsewhere, Side.here) << 2
  const record = { seq: 3, kind: RecordKind.postingApplied, flags: sides | RecordFlag.idElsewhere }
  const bytes = plainPosting(record)
  bytes.writeUInt32LE(4, 120)
  bytes.writeBigInt64LE(2n ** 33n, 128)
  bytes.writeBigInt64LE(1n, 136)
  t.same(eventOf(bytes), {
    ...common,
    type: 'account.moved',
    cause: '4-8589934592',
    accounts: [uuid(2)],
    data: {
      ...{ id: uuid(3), of: 'transaction.posted', effectiveDate },
      postings: [{ ...posting, amount: '125.50' }],
    },
  })
})

t.test('what has moved here because of any other record elsewhere names it', async (t) => {
  const of = { of: RecordKind.holdVoided, cause: [4, 8], message: 1, ended: true, ...follow }
  const body = {
    ...of,
    // As the record of an id that lives here has them: all of them, with sides.
    postings: [czk(1, 2, 0n), czk(3, 4, 0n)],
    sides: [packSides(Side.elsewhere, Side.elsewhere), packSides(Side.here, Side.elsewhere)],
    released: [1n, 2n],
  }
  t.same(eventOf(packed(RecordKind.applied, { seq: 3 }, body)), {
    ...common,
    type: 'account.moved',
    cause: '4-8',
    accounts: [uuid(3)],
    data: {
      ...{ ...followed, of: 'hold.voided' },
      postings: [
        { debit: uuid(3), credit: uuid(4), amount: '0.00', currency: 'CZK', released: '0.02' },
      ],
    },
  })
})

t.test('a copy that concerns no account of its stream alone is no event', async (t) => {
  const of = { cause: [4, 8], message: 1 }
  const account = { ...of, currency: 'CZK', scale: 2, class: 'asset', minimumBalance: 0n }
  const elsewhere = [packSides(Side.elsewhere, Side.elsewhere)]
  for (const body of [
    { ...account, of: RecordKind.accountCreated, overdraftLimit: null, createdAt: 1n },
    { ...of, of: RecordKind.accountChanged, striped: true, status: 'closed' },
    {
      ...{ ...of, of: RecordKind.transaction, effectiveDate: day },
      ...{ postings: [czk(1, 2, 5n)], sides: elsewhere },
    },
  ]) {
    t.equal(eventOf(packed(RecordKind.applied, { seq: 3 }, body)), undefined)
  }
})

t.test('a record that is not known is refused', async (t) => {
  const words = wordsOf(plainPosting({ seq: 3 }))
  words[0] = unknownHead
  t.throws(() => feedEvent(words, 0, place), { code: 'record_unreadable' })
})

t.test('of a real book every fact is there once, and names each account once', async (t) => {
  for (const golden of await goldenJournals()) {
    const session = await storeOfGolden(golden).open()
    const events: FeedEvent[] = []
    const kinds = new Set<string>()
    let homes = 0
    for (const { id: stream, head } of golden.streams) {
      const replay = new Replay(stream, { seq: 0, digest: emptyDigest }, digestChain())
      for await (const chunk of session.readChunks(stream, 0, head)) {
        replay.read(chunk, (words, at, seq) => {
          const { kind } = recordJson(words, at, { stream, seq })
          kinds.add(kind)
          if (kind !== 'applied' && kind !== 'posting_applied') homes += 1
          const event = feedEvent(words, at, { stream, seq })
          if (event !== undefined) events.push(JSON.parse(JSON.stringify(event)))
        })
      }
    }
    t.equal(kinds.size, 10, 'the book has all kinds of records')
    const facts = events.filter(({ type }) => type !== 'account.moved')
    t.equal(facts.length, homes)
    const reached = new Map<string, string[]>(facts.map(({ id }) => [id, []]))
    for (const { id, cause = id, accounts } of events) reached.get(cause)?.push(...accounts)
    for (const { id, data } of facts) {
      const named =
        'postings' in data
          ? data.postings.flatMap(({ debit, credit }) => [debit, credit])
          : [data.id]
      t.same(reached.get(id)?.sort(), [...new Set(named)].sort(), id)
    }
  }
})
