import t, { type Test } from 'tap'
import { CommandKind, type RequestContext, writeRead } from '../../src/actors/command.js'
import { batchItemsMax } from '../../src/api/binary-batch.js'
import { formatKey, type Key, keyToBytes, slotOf } from '../../src/key.js'
import {
  type Command,
  keyIn,
  type Scripted,
  ScriptedShards,
  ticks,
} from '../actors/scripted-shards.js'
import { type ScriptedApi, scriptedApi } from './scripted-api.js'

/** Slot s is at shard s % 3. */
const streams = [4, 5, 6]
const context: RequestContext = { tenant: 1, principal: 1, correlation: keyIn(0, 1) }
const batchPath = '/v1/transactions/batch'

interface Item {
  id: Key
  debit: Key
  credit: Key
}

/** An item whose keys are in the slots that are given. */
function item(number: number, slots: { id: number; debit: number; credit: number }): Item {
  return {
    id: keyIn(slots.id, 1000 + number),
    debit: keyIn(slots.debit, 1),
    credit: keyIn(slots.credit, 2),
  }
}

function bodyOf(items: Item[], more: object = {}): object {
  return {
    transactions: items.map(({ id, debit, credit }) => ({
      id: formatKey(id),
      debit: formatKey(debit),
      credit: formatKey(credit),
      amount: '1',
    })),
    ...more,
  }
}

/** A shard accepts all items, from seq 100 times its stream on. */
function acceptAll(shard: number, { items }: Command): Scripted {
  const first = streams[shard] * 100
  return {
    kind: 'batch',
    seq: first + items.length - 1,
    items: items.map((_, index) => ({ seq: first + index })),
  }
}

async function start(
  t: Test,
  script: (shard: number, command: Command) => Scripted | undefined = acceptAll,
  limits: { inFlightCommandsMax?: number } = {},
): Promise<{ shards: ScriptedShards; api: ScriptedApi }> {
  const shards = new ScriptedShards(streams, script, limits)
  t.teardown(() => shards.router.close())
  return { shards, api: await scriptedApi(t, shards) }
}

const spread = [
  item(0, { id: 2, debit: 2, credit: 0 }),
  item(1, { id: 0, debit: 0, credit: 1 }),
  item(2, { id: 2, debit: 5, credit: 8 }),
  item(3, { id: 1, debit: 4, credit: 2 }),
  item(4, { id: 0, debit: 3, credit: 6 }),
]

t.test('each item goes to the shard of its id, and results are in the order sent', async (t) => {
  const { api, shards } = await start(t)
  const { status, json } = await api.call('POST', batchPath, bodyOf(spread))
  t.equal(status, 200)
  t.same(
    json.data.results.map(({ id, position }: { id: string; position: string }) => [id, position]),
    [
      [formatKey(spread[0].id), '6-600'],
      [formatKey(spread[1].id), '4-400'],
      [formatKey(spread[2].id), '6-601'],
      [formatKey(spread[3].id), '5-500'],
      [formatKey(spread[4].id), '4-401'],
    ],
  )
  t.same(json.data.counts, { accepted: 5, replayed: 0, refused: 0 })
  t.same(json.meta, { positions: ['4-401', '5-500', '6-601'] })
  t.equal(shards.seen.length, 3)
  for (const { shard, command } of shards.seen) {
    t.equal(command.kind, CommandKind.batch)
    t.notOk(command.isAtomic)
    const own = spread.filter(({ id }) => slotOf(id) % 3 === shard)
    t.same(
      command.items,
      own.map(({ id }) => formatKey(id)),
    )
  }
})

t.test('an atomic batch stays whole, ordered or not', async (t) => {
  const { api, shards } = await start(t)
  for (const ordered of [false, true]) {
    const { json } = await api.call('POST', batchPath, bodyOf(spread, { atomic: true, ordered }))
    t.same(json.meta, { positions: ['6-604'] })
  }
  for (const { shard, command } of shards.seen) {
    t.equal(shard, 2, 'the shard of the first id')
    t.ok(command.isAtomic)
    t.equal(command.items.length, spread.length)
  }
  t.equal(shards.seen.length, 2)
})

t.test('the refusal of an atomic batch names its item', async (t) => {
  const { api } = await start(t, () => ({
    kind: 'atomicRefusal',
    code: 'insufficient_funds',
    index: 3,
  }))
  const { status, json } = await api.call('POST', batchPath, bodyOf(spread, { atomic: true }))
  t.equal(status, 422)
  t.match(json.error, { code: 'insufficient_funds', details: { index: 3 } })
})

t.test('items of a shard that could not take them are refused, each by itself', async (t) => {
  const { api } = await start(t, (shard, command) =>
    shard === 0 ? { kind: 'refused', code: 'journal_unavailable' } : acceptAll(shard, command),
  )
  const { status, json } = await api.call('POST', batchPath, bodyOf(spread))
  t.equal(status, 200)
  t.same(
    json.data.results.map((result: { outcome: string }) => result.outcome),
    ['accepted', 'refused', 'accepted', 'accepted', 'refused'],
  )
  t.match(json.data.results[1].error, { code: 'journal_unavailable', transient: true })
  t.same(json.data.counts, { accepted: 3, replayed: 0, refused: 2 })
  t.same(json.meta, { positions: ['5-500', '6-601'] })
})

t.test('a batch of which nothing was taken is refused as a whole', async (t) => {
  const { api } = await start(t, () => ({ kind: 'refused', code: 'journal_unavailable' }))
  for (const ordered of [false, true]) {
    const { status, json, headers } = await api.call('POST', batchPath, bodyOf(spread, { ordered }))
    t.equal(status, 503)
    t.equal(json.error.code, 'journal_unavailable')
    t.equal(String(headers['retry-after']), '1')
  }
})

t.test('one shard that does not answer leaves the outcome unknown, with all ids', async (t) => {
  const { api, shards } = await start(t, (shard, command) =>
    shard === 1 ? undefined : acceptAll(shard, command),
  )
  const answer = api.call('POST', batchPath, bodyOf(spread))
  await shards.arrived(3)
  shards.clock.advance(1100)
  const { status, json } = await answer
  t.equal(status, 504)
  t.equal(json.error.code, 'outcome_unknown')
  t.same(
    json.error.details.ids,
    spread.map(({ id }) => formatKey(id)),
  )
})

t.test('a batch that does not fit is refused before anything is sent', async (t) => {
  const { api, shards } = await start(t, acceptAll, { inFlightCommandsMax: 4 })
  const { status, json } = await api.call('POST', batchPath, bodyOf(spread))
  t.equal(status, 429)
  t.equal(json.error.code, 'overloaded')
  t.equal(shards.seen.length, 0)
})

t.test('the largest batch fits into the least room, over however many shards', async (t) => {
  const { api } = await start(t, acceptAll, { inFlightCommandsMax: 8192 })
  const items = Array.from({ length: batchItemsMax }, (_, index) =>
    item(index, { id: index % 3, debit: 0, credit: 1 }),
  )
  const { json } = await api.call('POST', batchPath, bodyOf(items))
  t.equal(json.data.counts.accepted, batchItemsMax)
  t.same(
    json.data.results.map(({ id }: { id: string }) => id),
    items.map(({ id }) => formatKey(id)),
  )
})

/** Items 0 and 1 have nothing in common; 2 follows 0, and 3 follows 2. */
const chain = [
  item(0, { id: 0, debit: 0, credit: 1 }),
  item(1, { id: 2, debit: 2, credit: 5 }),
  item(2, { id: 1, debit: 1, credit: 2 }),
  item(3, { id: 0, debit: 3, credit: 2 }),
]
chain[2].debit = chain[0].credit
chain[3].credit = chain[2].credit
const waveShards = (shards: ScriptedShards) =>
  shards.seen.map(({ shard, command }) => `${shard}: ${command.items.length}`)

t.test('ordered: an item waits for the answer of those that it follows', async (t) => {
  const { api, shards } = await start(t, () => undefined)
  const answer = api.call('POST', batchPath, bodyOf(chain, { ordered: true }))
  const waves = [['0: 1', '2: 1'], ['1: 1'], ['0: 1']]
  let sent = 0
  for (const wave of waves) {
    sent += wave.length
    await shards.arrived(sent)
    await ticks()
    t.same(waveShards(shards).slice(sent - wave.length), wave)
    for (const { shard, command } of shards.seen.slice(sent - wave.length)) {
      shards.say(shard, command.request, acceptAll(shard, command))
    }
  }
  const { status, json } = await answer
  t.equal(status, 200)
  t.same(
    json.data.results.map(({ id }: { id: string }) => id),
    chain.map(({ id }) => formatKey(id)),
  )
  t.same(json.data.counts, { accepted: 4, replayed: 0, refused: 0 })
  t.same(json.meta, { positions: ['4-400', '5-500', '6-600'] })
})

t.test('ordered: in the query, too, and without it everything goes at once', async (t) => {
  const { api, shards } = await start(t)
  await api.call('POST', `${batchPath}?ordered=true`, bodyOf(chain))
  t.same(waveShards(shards), ['0: 1', '2: 1', '1: 1', '0: 1'])
  shards.seen.length = 0
  await api.call('POST', batchPath, bodyOf(chain))
  t.same(waveShards(shards), ['0: 2', '1: 1', '2: 1'])
})

t.test('ordered: by the flag of a binary batch', async (t) => {
  const { api, shards } = await start(t)
  for (const [flags, waves] of [
    [0, ['0: 2', '1: 1', '2: 1']],
    [2, ['0: 1', '2: 1', '1: 1', '0: 1']],
    [3, ['0: 4']],
  ] as const) {
    shards.seen.length = 0
    const { status } = await api.call('POST', batchPath, binaryOf(chain, flags), {
      'content-type': 'application/vnd.daybook.transactions',
    })
    t.equal(status, 200)
    t.same(waveShards(shards), waves, `flags ${flags}`)
  }
})

t.test('ordered: what has its keys in one shard is one sub-batch', async (t) => {
  const { api, shards } = await start(t)
  const local = [0, 3, 6].map((id, number) => item(number, { id, debit: 9, credit: 12 }))
  await api.call('POST', batchPath, bodyOf(local, { ordered: true }))
  t.same(waveShards(shards), ['0: 3'])
})

t.test('ordered: nothing is sent after a wave whose outcome is not known', async (t) => {
  const { api, shards } = await start(t, (shard, command) =>
    shard === 2 ? undefined : acceptAll(shard, command),
  )
  const answer = api.call('POST', batchPath, bodyOf(chain, { ordered: true }))
  await shards.arrived(2)
  await ticks()
  shards.clock.advance(1100)
  const { status, json } = await answer
  t.equal(status, 504)
  t.equal(json.error.details.ids.length, chain.length)
  await ticks()
  t.same(waveShards(shards), ['0: 1', '2: 1'])
})

t.test('ordered: what was not sent may have taken effect before, so nobody knows', async (t) => {
  const { api, shards } = await start(t, (shard, command) =>
    shard === 2 ? { kind: 'refused', code: 'journal_unavailable' } : acceptAll(shard, command),
  )
  const { status, json } = await api.call('POST', batchPath, bodyOf(chain, { ordered: true }))
  t.equal(status, 504)
  t.match(json.error, { code: 'outcome_unknown', details: { ids: { length: chain.length } } })
  t.same(waveShards(shards), ['0: 1', '2: 1'])
})

t.test('ordered: nor does anybody know of a wave for which there was no room', async (t) => {
  const { api, shards } = await start(t, () => undefined, { inFlightCommandsMax: 2 })
  const items = [chain[0], chain[2], chain[1]]
  const answer = api.call('POST', batchPath, bodyOf(items, { ordered: true }))
  await shards.arrived(1)
  const [{ shard, command }] = shards.seen
  // Another command is under way when the second wave, of two items, is to be sent.
  const other = shards.router.submit(0, 1, (frame, number) => {
    writeRead(frame, context, number, {
      kind: CommandKind.readAccount,
      id: chain[0].id,
      minSeq: 0,
    })
  })
  shards.say(shard, command.request, acceptAll(shard, command))
  t.equal((await answer).status, 504)
  t.equal(shards.seen.filter(({ command }) => command.kind === CommandKind.batch).length, 1)
  shards.router.close()
  t.equal((await other).kind, 'unanswered')
})

t.test('ordered: a refused item does not keep later ones from being tried', async (t) => {
  const { api, shards } = await start(t, (shard, command) =>
    shard === 2
      ? { kind: 'batch', seq: 0, items: [{ seq: 0, refusal: 'insufficient_funds' }] }
      : acceptAll(shard, command),
  )
  const { json } = await api.call('POST', batchPath, bodyOf(chain, { ordered: true }))
  t.same(json.data.counts, { accepted: 3, replayed: 0, refused: 1 })
  t.equal(json.data.results[1].error.code, 'insufficient_funds')
  t.equal(shards.seen.length, 4)
})

t.test('ordered: accounts that are known to be striped make nobody wait', async (t) => {
  const { api, shards } = await start(t)
  for (const account of [chain[0].credit, chain[2].credit]) {
    shards.tellPart(0, 1, { account, seq: 1, striped: true })
  }
  await ticks()
  await api.call('POST', batchPath, bodyOf(chain, { ordered: true }))
  t.same(waveShards(shards), ['0: 2', '1: 1', '2: 1'])
})

function binaryOf(items: Item[], flags: number): Buffer {
  const head = Buffer.alloc(16)
  head.write('DAYB')
  head[4] = 1
  head[5] = flags
  head.writeUInt32LE(items.length, 8)
  const bodies = items.map(({ id, debit, credit }) => {
    const rest = Buffer.alloc(16)
    rest.writeBigInt64LE(1n, 0)
    rest.writeInt32LE(-(2 ** 31), 8)
    return Buffer.concat([...[id, debit, credit].map(keyToBytes), rest])
  })
  return Buffer.concat([head, ...bodies])
}
