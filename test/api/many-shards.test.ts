import t, { type Test } from 'tap'
import { CommandKind } from '../../src/actors/command.js'
import { TransactionState } from '../../src/actors/transactions.js'
import type { JournalReader } from '../../src/journal/reader.js'
import { formatKey, type Key, slotOf } from '../../src/key.js'
import {
  type Command,
  keyIn,
  type Scripted,
  ScriptedShards,
  ticks,
} from '../actors/scripted-shards.js'
import { plainRecord } from './crafted-records.js'
import { scriptedApi } from './scripted-api.js'

/** Streams of the current generation; 1 to 3 are of earlier ones. Slot s is at shard s % 3. */
const streams = [4, 5, 6]
const till = keyIn(1, 1)
const [ada, ben, eve] = [0, 1, 2].map((slot) => keyIn(slot, 2))
const tillPath = `/v1/accounts/${formatKey(till)}`
const transactionsPath = '/v1/transactions'

type Script = (shard: number, command: Command) => Scripted | undefined

async function start(t: Test, script: Script, readRecord?: JournalReader['readRecord']) {
  const shards = new ScriptedShards(streams, script)
  t.teardown(() => shards.router.close())
  const api = await scriptedApi(t, shards, readRecord)
  const asked = () => shards.seen.map(({ shard, command }) => `${shard} ${nameOf(command.kind)}`)
  return { api, shards, asked }
}

function nameOf(kind: number): string {
  return Object.entries(CommandKind).find(([, number]) => number === kind)?.[0] ?? String(kind)
}

const refusedAs = (code: Extract<Scripted, { kind: 'refused' }>['code']): Scripted => ({
  kind: 'refused',
  code,
})
const partOf = (debitsPosted: bigint, seq = 9): Scripted => ({
  kind: 'account',
  balance: { account: till, seq, striped: true, counters: { debitsPosted, creditsPending: 1n } },
})

t.test('a striped account is read from its owner, then from all other shards', async (t) => {
  const { api, asked } = await start(t, (shard) => partOf([100n, 20n, 3n][shard]))
  const { status, json } = await api.call('GET', tillPath)
  t.equal(status, 200)
  t.same(asked(), ['1 readAccount', '0 readAccount', '2 readAccount'])
  t.equal(json.data.striped, true)
  t.same(json.data.balances, {
    debitsPosted: '1.23',
    creditsPosted: '0.00',
    debitsPending: '0.00',
    creditsPending: '0.03',
    balance: '1.23',
    available: '1.20',
  })
  t.equal(json.data.position, '5-9')
  t.equal(json.meta.position, '5-9')
})

t.test('an account of one shard is read there and nowhere else', async (t) => {
  const { api, asked } = await start(t, () => ({
    kind: 'account',
    balance: { account: till, seq: 0 },
  }))
  const { json } = await api.call('GET', tillPath)
  t.same(asked(), ['1 readAccount'])
  t.notOk('striped' in json.data)
  t.equal(json.data.position, '5-0')
})

t.test('a shard that has not heard of the account yet has an empty part', async (t) => {
  const { api } = await start(t, (shard) =>
    shard === 2 ? refusedAs('account_not_found') : partOf(50n),
  )
  t.equal((await api.call('GET', tillPath)).json.data.balances.balance, '1.00')
})

t.test('an account that its owner does not know is not there', async (t) => {
  const { api, asked } = await start(t, (shard) =>
    shard === 1 ? refusedAs('account_not_found') : partOf(50n),
  )
  const answer = await api.call('GET', tillPath)
  t.equal(answer.json.error.code, 'account_not_found')
  t.same(asked(), ['1 readAccount'])
})

t.test('a sum with a part missing is never shown', async (t) => {
  for (const [method, body, code] of [
    ['GET', undefined, 'journal_unavailable'],
    ['PATCH', { metadata: { a: 1 } }, 'outcome_unknown'],
  ] as const) {
    const { api } = await start(t, (shard) =>
      shard === 2 ? refusedAs('journal_unavailable') : partOf(50n),
    )
    t.equal((await api.call(method, tillPath, body)).json.error.code, code, method)
  }
  const { api, shards } = await start(t, (shard) => (shard === 2 ? undefined : partOf(50n)))
  const answer = api.call('GET', tillPath)
  await shards.arrived(3)
  shards.clock.advance(1100)
  t.equal((await answer).json.error.code, 'journal_unavailable')
})

t.test('a change and a repeated creation show the sum', async (t) => {
  const { api } = await start(t, (_shard, { kind }) => {
    const part = partOf(7n)
    return kind === CommandKind.createAccount ? { ...part, replayed: true } : part
  })
  const changed = await api.call('PATCH', tillPath, { metadata: { a: 1 } })
  t.equal(changed.status, 200)
  t.equal(changed.json.data.balances.balance, '0.21')
  const body = { id: formatKey(till), currency: 'EUR', class: 'asset', striped: true }
  const again = await api.call('POST', '/v1/accounts', body)
  t.equal(again.status, 200)
  t.equal(again.json.data.balances.balance, '0.21')
})

t.test(
  '201 shows the known sum; of an account with an unknown part it shows nothing',
  async (t) => {
    const id = keyIn(0, 9)
    const record = plainRecord({ applied: false, id, debit: till, credit: ada, sides: 0 })
    const own = { account: till, seq: 12, striped: true, counters: { debitsPosted: 1250n } }
    const { api, shards } = await start(t, (_shard, { kind }) =>
      kind === CommandKind.createAccount
        ? partOf(0n)
        : { kind: 'accepted', seq: 12, record, balances: [{ account: ada, seq: 12 }, own] },
    )
    const post = () =>
      api.call('POST', transactionsPath, {
        id: formatKey(id),
        debit: formatKey(till),
        credit: formatKey(ada),
        amount: '12.50',
      })
    const before = await post()
    t.equal(before.status, 201)
    t.same(
      before.json.data.balances.map(({ account }: { account: string }) => account),
      [formatKey(ada)],
    )
    await api.call('POST', '/v1/accounts', {
      id: formatKey(till),
      currency: 'EUR',
      class: 'asset',
      striped: true,
    })
    t.match((await post()).json.data.balances[1], { striped: true, balance: '12.50' })
    shards.tellPart(2, 1, { ...own, seq: 3, counters: { debitsPosted: 50n } })
    const after = await post()
    t.match(after.json.data.balances, [
      { account: formatKey(ada), position: '4-12' },
      { account: formatKey(till), striped: true, balance: '13.00', position: '4-12' },
    ])
    t.notOk('striped' in after.json.data.balances[0])
  },
)

t.test('an id made by the server is where the first account of one shard is', async (t) => {
  const seen: string[] = []
  const { api, shards } = await start(t, (shard, { id }) => {
    seen.push(`${shard} ${slotOf(id) % 3}`)
    return refusedAs('account_not_found')
  })
  const [cash, fees] = [keyIn(1, 1), keyIn(2, 1)]
  for (const [shard, account] of [cash, fees].entries()) {
    shards.tellPart(shard, 1, { account, seq: 1, striped: true })
  }
  await ticks()
  const post = (postings: [Key, Key][]) =>
    api.call('POST', transactionsPath, {
      postings: postings.map(([debit, credit]) => ({
        debit: formatKey(debit),
        credit: formatKey(credit),
        amount: '1',
      })),
    })
  await post([[ben, ada]])
  await post([[cash, ada]])
  await post([
    [cash, fees],
    [fees, eve],
  ])
  t.same(seen.splice(0), ['1 1', '0 0', '2 2'])
  for (let count = 0; count < 40; count++) await post([[cash, fees]])
  t.equal(new Set(seen).size, 3, 'only striped accounts: any shard')
})

t.test('a read may ask for a position of any stream', async (t) => {
  const account: Scripted = { kind: 'account', balance: { account: till, seq: 1 } }
  const { api, shards, asked } = await start(t, (_shard, { kind, minSeq }) =>
    kind === CommandKind.readPosition ? { kind: 'reached', seq: minSeq } : account,
  )
  const read = async (position: string) => {
    shards.seen.length = 0
    return await api.call('GET', `${tillPath}?minPosition=${position}`)
  }
  const minima = () => shards.seen.map(({ command }) => command.minSeq)
  t.equal((await read('5-17')).status, 200)
  t.same([asked(), minima()], [['1 readAccount'], [17]], 'of its own stream')
  t.equal((await read('6-17')).status, 200)
  t.same(
    [asked(), minima()],
    [
      ['2 readPosition', '1 readAccount'],
      [17, 0],
    ],
    'of another stream',
  )
  t.equal((await read('2-17')).status, 200)
  t.same([asked(), minima()], [['1 readAccount'], [0]], 'of an earlier generation')
  for (const position of ['0-1', '7-1']) {
    const { json } = await read(position)
    t.equal(json.error.code, 'invalid_request')
    t.equal(json.error.details.field, 'minPosition')
    t.same(asked(), [])
  }
})

t.test('a read waits for nobody who has not reached the position', async (t) => {
  const { api, shards, asked } = await start(t, (shard) =>
    shard === 0 ? undefined : refusedAs('position_not_reached'),
  )
  const path = `${transactionsPath}/${formatKey(keyIn(1, 5))}`
  const late = await api.call('GET', `${path}?minPosition=6-17`)
  t.equal(late.status, 503)
  t.equal(late.json.error.code, 'position_not_reached')
  t.same(asked(), ['2 readPosition'], 'and is not sent')
  const silent = api.call('GET', `${path}?minPosition=4-17`)
  await shards.arrived(2)
  shards.clock.advance(1100)
  t.equal((await silent).json.error.code, 'journal_unavailable')
})

t.test('a transaction is read where its record is, which may be another stream', async (t) => {
  const id = keyIn(1, 8)
  const record = plainRecord({ applied: true, id, debit: ada, credit: ben, sides: 1 })
  const read: [number, number][] = []
  let recordStream = 2
  let replayed = false
  const { api } = await start(
    t,
    () => ({
      kind: 'transaction',
      seq: 40,
      state: TransactionState.posted,
      body: { recordStream, recordSeq: 31, replayed },
    }),
    async (stream, seq) => {
      read.push([stream, seq])
      return record
    },
  )
  const shown = await api.call('GET', `${transactionsPath}/${formatKey(id)}`)
  t.equal(shown.status, 200)
  t.match(shown.json.data, { id: formatKey(id), postings: [{ amount: '12.50' }] })
  t.equal(shown.json.meta.position, '5-40', 'what the state rests on')
  replayed = true
  const body = { id: formatKey(id), debit: formatKey(ada), credit: formatKey(ben), amount: '1' }
  const again = await api.call('POST', transactionsPath, body)
  t.equal(again.status, 200)
  t.equal(again.json.meta.position, '2-31', 'a repeat answers the position of the first')
  recordStream = 0
  t.equal((await api.call('POST', transactionsPath, body)).json.meta.position, '5-31')
  t.same(read, [
    [2, 31],
    [2, 31],
    [5, 31],
  ])
})

t.test('a reversal whose target cannot be read may have taken effect before', async (t) => {
  const path = `${transactionsPath}/${formatKey(keyIn(1, 8))}/reverse`
  const body = { id: 'undo:1' }
  const found: Scripted = {
    kind: 'transaction',
    seq: 40,
    state: TransactionState.reversed,
    body: { recordStream: 5, recordSeq: 31, replayed: false },
  }
  for (const answer of [refusedAs('journal_unavailable'), found]) {
    // Of the second the record cannot be read: there is no journal.
    const { api, asked } = await start(t, () => answer)
    const { status, json } = await api.call('POST', path, body)
    t.equal(status, 504)
    t.match(json.error, { code: 'outcome_unknown', details: { id: 'undo:1' } })
    t.same(asked(), ['1 readTransaction'], 'and nothing is sent')
  }
  const { api } = await start(t, () => refusedAs('transaction_not_found'))
  t.equal((await api.call('POST', path, body)).status, 404, 'what is known is said')
})
