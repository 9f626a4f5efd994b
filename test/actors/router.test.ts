import t from 'tap'
import { CommandKind, type RequestContext, writeRead } from '../../src/actors/command.js'
import type { FrameWriter } from '../../src/actors/frame.js'
import type { Outcome } from '../../src/actors/router.js'
import { StripedParts } from '../../src/actors/striped-parts.js'
import { formatKey, newKey, slotCount, slotOf } from '../../src/key.js'
import { keyIn, type Scripted, ScriptedShards, ticks } from './scripted-shards.js'

const context: RequestContext = { tenant: 3, principal: 1, correlation: newKey() }
const account = keyIn(5, 1)

function reading(shard: number, commands = 1) {
  return {
    shard,
    commands,
    write: (frame: FrameWriter, number: number) =>
      writeRead(frame, context, number, { kind: CommandKind.readAccount, id: account, minSeq: 0 }),
  }
}

const part = (seq: number, debits: bigint, striped = true) => ({
  account,
  seq,
  striped,
  counters: { debitsPosted: debits, creditsPending: 1n },
})
const partOf = (seq: number, debits: bigint): Scripted => ({
  kind: 'account',
  balance: part(seq, debits),
})
const kinds = (outcomes: Outcome[]) => outcomes.map(({ kind }) => kind)
const balanceOf = (outcome: Outcome) => {
  if (outcome.kind !== 'account') throw new Error(`${outcome.kind} is no account`)
  return outcome.balance
}

t.test('the keys of these tests are in the slots that they name', async (t) => {
  for (const slot of [0, 1, 255, 256, 511, 1023]) t.equal(slotOf(keyIn(slot, 77)), slot)
  t.not(formatKey(keyIn(3, 1)), formatKey(keyIn(3, 2)))
  t.equal(slotCount, 1024)
})

t.test('submitAll gives each shard its command and each answer its place', async (t) => {
  const { router, seen } = new ScriptedShards([7, 8, 9], (shard) => partOf(shard, BigInt(shard)))
  const outcomes = await router.submitAll([reading(2), reading(0), reading(1)])
  t.same(
    outcomes.map((outcome) => balanceOf(outcome).stream),
    [9, 7, 8],
  )
  t.same(
    seen.map(({ shard }) => shard),
    [0, 1, 2],
    'one frame for each shard, and nothing else',
  )
  t.equal(router.inFlightCommands, 0)
})

t.test('what does not fit as a whole is not sent in part', async (t) => {
  let answering = false
  const shards = new ScriptedShards(
    [1, 2],
    (shard) => (answering ? partOf(shard, 1n) : undefined),
    { inFlightCommandsMax: 5 },
  )
  const { router, seen } = shards
  t.same(kinds(await router.submitAll([reading(0, 3), reading(1, 3)])), [
    'overloaded',
    'overloaded',
  ])
  const held = router.submitAll([reading(0, 2), reading(1, 2)])
  t.equal(router.inFlightCommands, 4)
  t.equal((await router.submit(0, 2, reading(0).write)).kind, 'overloaded')
  answering = true
  t.equal((await router.submit(1, 1, reading(1).write)).kind, 'account')
  t.equal(seen.length, 3, 'nothing of what was refused has gone to a shard')
  for (const { shard, command } of seen.slice(0, 2)) {
    shards.say(shard, command.request, partOf(1, 1n))
  }
  t.same(kinds(await held), ['account', 'account'])
  t.equal(router.inFlightCommands, 0)
})

t.test('a command that cannot be written takes back what was written for it', async (t) => {
  const { router, seen } = new ScriptedShards([1, 2], () => partOf(1, 1n))
  const broken = {
    ...reading(1),
    write: (frame: FrameWriter, number: number) => {
      reading(1).write(frame, number)
      throw new RangeError('broken')
    },
  }
  t.throws(() => router.submitAll([reading(0), reading(0), broken]), { message: 'broken' })
  t.equal(router.inFlightCommands, 0)
  t.same(kinds(await router.submitAll([reading(0), reading(1)])), ['account', 'account'])
  t.equal(seen.length, 2)
})

t.test('one shard that does not answer leaves the answers of the others', async (t) => {
  const { router, clock } = new ScriptedShards([1, 2], (shard) =>
    shard === 0 ? partOf(1, 1n) : undefined,
  )
  const outcomes = router.submitAll([reading(0), reading(1)])
  await ticks()
  await ticks()
  clock.advance(1100)
  t.same(kinds(await outcomes), ['account', 'unanswered'])
})

t.test('a closed router lets nobody wait', async (t) => {
  const { router } = new ScriptedShards([1, 2], () => undefined)
  const before = router.submitAll([reading(0), reading(1)])
  router.close()
  t.same(kinds(await before), ['unanswered', 'unanswered'])
  t.equal((await router.submit(0, 1, reading(0).write)).kind, 'unanswered')
  t.equal(router.inFlightCommands, 0)
})

t.test('the sum of a striped account is known once every shard has told its part', async (t) => {
  const shards = new ScriptedShards([1, 2, 3], (shard) => partOf(10, BigInt(shard)))
  const { router } = shards
  const own = balanceOf(await router.submit(0, 1, reading(0).write))
  t.ok(router.striped.has(context.tenant, account), 'learned from an answer')
  t.notOk(router.striped.has(context.tenant + 1, account), 'of another tenant nothing is known')
  t.equal(router.striped.sum(context.tenant, own), undefined)
  shards.tellPart(1, context.tenant, part(4, 100n))
  shards.tellPart(2, context.tenant + 1, part(4, 5000n))
  await ticks()
  t.equal(router.striped.sum(context.tenant, own), undefined, 'one part is of another tenant')
  shards.tellPart(2, context.tenant, part(4, 1000n))
  await ticks()
  t.equal(router.striped.sum(context.tenant, own)?.counters.debitsPosted, 1100n)
  t.equal(router.striped.sum(context.tenant, own)?.counters.creditsPending, 3n)
  shards.tellPart(2, context.tenant, part(3, 7n))
  await ticks()
  t.equal(
    router.striped.sum(context.tenant, own)?.counters.debitsPosted,
    1100n,
    'an older part changes nothing',
  )
  shards.tellPart(2, context.tenant, part(5, 2000n))
  await ticks()
  t.equal(router.striped.sum(context.tenant, own)?.counters.debitsPosted, 2100n)
  t.equal(router.striped.sum(context.tenant, own)?.seq, 10, 'the rest is as it was told')
})

t.test(
  'past its lease an answer is not given, and a part is remembered all the same',
  async (t) => {
    const shards = new ScriptedShards([1, 2], (shard) => partOf(10 + shard, 1n))
    const { router, clock } = shards
    const own = balanceOf(await router.submit(0, 1, reading(0).write))
    shards.validUntil = clock.monotonic()
    shards.tellPart(1, context.tenant, part(12, 100n))
    const late = router.submit(1, 1, reading(1).write)
    await ticks()
    await ticks()
    t.equal(router.striped.sum(context.tenant, own)?.counters.debitsPosted, 101n)
    t.equal(router.inFlightCommands, 1)
    clock.advance(1100)
    t.equal((await late).kind, 'unanswered')
  },
)

t.test('a new striped account has empty parts, unless a shard has told otherwise', async (t) => {
  const shards = new ScriptedShards([1, 2, 3], () => partOf(10, 1n))
  const { router } = shards
  shards.tellPart(1, context.tenant, part(4, 100n))
  const own = balanceOf(await router.submit(0, 1, reading(0).write))
  router.striped.begin(context.tenant, own)
  t.equal(router.striped.sum(context.tenant, own)?.counters.debitsPosted, 101n)
})

t.test('balances that are not striped are as they were told, and not kept', async (t) => {
  const { router } = new ScriptedShards([1, 2], () => ({
    kind: 'account',
    balance: part(1, 5n, false),
  }))
  const own = balanceOf(await router.submit(0, 1, reading(0).write))
  t.same(router.striped.sum(context.tenant, own), own)
  router.striped.begin(context.tenant, own)
  t.notOk(router.striped.has(context.tenant, account))
  t.equal(router.striped.accounts, 0)
})

t.test('beyond the limit of striped accounts only the hint is lost', async (t) => {
  const { router } = new ScriptedShards([1, 2], () => partOf(1, 5n))
  const own = balanceOf(await router.submit(0, 1, reading(0).write))
  const parts = new StripedParts([1, 2], 1)
  parts.begin(1, own)
  parts.begin(2, own)
  t.equal(parts.accounts, 1)
  t.ok(parts.has(1, account))
  t.notOk(parts.has(2, account))
  t.equal(parts.sum(2, own), undefined)
  parts.learn(1, { ...own, stream: 2, counters: { ...own.counters, debitsPosted: 2n }, seq: 9 })
  t.equal(parts.sum(1, own)?.counters.debitsPosted, 7n, 'what is kept goes on')
  parts.learn(1, { ...own, stream: 99, seq: 99 })
  const others = new StripedParts([8, 9])
  others.learn(1, own)
  t.equal(others.accounts, 0)
  t.equal(parts.sum(1, own)?.counters.debitsPosted, 7n, 'streams of no shard are not counted')
})
