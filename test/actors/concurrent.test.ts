import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { connectionLost, FaultyStore } from '../journal/faulty-store.js'
import { offDomain } from '../off-domain.js'
import { temporaryPostgres } from '../postgres.js'
import { type Audit, audit, balanceOf } from './audit.js'
import { emptyBook } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import { type FollowUp, followUpId, type NewTransaction } from './model.js'
import { pickOf } from './scenario.js'

t.setTimeout(1_800_000)

t.test('whatever is in flight at once, what clients saw is what the journal says', async (t) => {
  offDomain(t)
  const postgres = await temporaryPostgres(t)
  const connectionString = await postgres.createDatabase()
  const totals = { commands: 0, accepted: 0, replayed: 0, refused: 0, unanswered: 0, settled: 0 }
  const property = fc.asyncProperty(waves, async (waves) => {
    const clients = await Clients.start(connectionString)
    try {
      for (const wave of waves) await clients.take(wave)
      await clients.verify()
    } finally {
      await clients.engine.close()
    }
    for (const [name, count] of Object.entries(clients.counts)) {
      totals[name as keyof typeof totals] += count
    }
  })
  const numRuns = Math.ceil(Number(process.env.DAYBOOK_TEST_RUNS ?? 100) / 4)
  await fc.assert(property, {
    numRuns,
    seed: Number(process.env.DAYBOOK_TEST_SEED ?? 20240301),
    path: process.env.DAYBOOK_TEST_PATH,
    interruptAfterTimeLimit: Number(process.env.DAYBOOK_TEST_LIMIT ?? 120_000) + numRuns * 4000,
    markInterruptAsFailure: true,
    endOnFailure: process.env.DAYBOOK_TEST_SHRINK === 'no',
  })
  t.comment(JSON.stringify(totals))
  for (const [name, count] of Object.entries(totals)) t.ok(count > 0, `there were some ${name}`)
})

type Trouble = 'none' | 'crash' | 'fails before' | 'fails after' | 'hangs' | 'time passes'

interface Wave {
  commands: CommandPick[]
  trouble: Trouble
  /** Ticks between the commands and the crash. */
  ticks: number
}

interface CommandPick {
  do: 'post' | 'hold' | 'settle' | 'reverse' | 'repeat' | 'batch' | 'atomic' | 'read' | 'change'
  a: number
  b: number
  units: number
  expiring: boolean
  conditional: boolean
  keepRest: boolean
  follow: 'post' | 'void'
}

const pick = fc.nat(1000)
const commandPick: fc.Arbitrary<CommandPick> = fc.record({
  do: fc.constantFrom<CommandPick['do'][]>(
    ...(['post', 'post', 'post', 'hold', 'hold', 'settle', 'settle', 'settle'] as const),
    ...(['reverse', 'repeat', 'repeat', 'batch', 'atomic', 'read', 'read', 'change'] as const),
  ),
  a: pick,
  b: pick,
  units: fc.integer({ min: 1, max: 60 }),
  expiring: fc.boolean(),
  conditional: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  keepRest: fc.boolean(),
  follow: fc.constantFrom('post', 'void'),
})
const waves: fc.Arbitrary<Wave[]> = fc.noBias(
  fc.array(
    fc.record({
      commands: fc.array(commandPick, { minLength: 1, maxLength: 40, size: 'max' }),
      trouble: fc.constantFrom<Trouble[]>(
        ...(['none', 'none', 'crash', 'fails before', 'fails after', 'hangs'] as const),
        'time passes',
      ),
      ticks: fc.integer({ min: 0, max: 12 }),
    }),
    { minLength: 1, maxLength: 8, size: 'max' },
  ),
)

const customers = ['c:1', 'c:2', 'c:3', 'c:4', '018d0000-0000-7000-8000-0000000000c5']
const accounts = [...customers, 'cash', 'bank']

type Sent =
  | { kind: 'post'; ids: [string]; body: NewTransaction }
  | { kind: 'followUp'; ids: [string]; body: FollowUp }
  | { kind: 'batch'; ids: string[]; bodies: NewTransaction[]; atomic: boolean }

interface LogEntry {
  sent: Sent
  answer: EngineAnswer
}

/** Clients that send without waiting, and write down what they sent and what they were told. */
class Clients {
  readonly engine: Engine
  readonly counts = { commands: 0, accepted: 0, replayed: 0, refused: 0, unanswered: 0, settled: 0 }
  readonly #connectionString: string
  readonly #store: () => FaultyStore
  readonly #log: LogEntry[] = []
  readonly #reads: { id: string; answer: EngineAnswer }[] = []
  readonly #sent: Sent[] = []
  readonly #versions = new Map<string, number>()
  #ids = 0

  static async start(connectionString: string): Promise<Clients> {
    await emptyBook(connectionString)
    const stores: FaultyStore[] = []
    const engine = await Engine.start({
      connectionString,
      wrap: (store) => {
        stores.push(new FaultyStore(store))
        return stores[stores.length - 1]
      },
    })
    const clients = new Clients(connectionString, engine, () => stores[stores.length - 1])
    await clients.#open()
    return clients
  }

  private constructor(connectionString: string, engine: Engine, store: () => FaultyStore) {
    this.#connectionString = connectionString
    this.engine = engine
    this.#store = store
  }

  async take(wave: Wave): Promise<void> {
    const { engine } = this
    const store = this.#store()
    const settledBefore = engine.shard.gauges.settlements
    let faultsLeft = 1
    store.faults = {
      commit: async (next) => {
        faultsLeft -= 1
        if (faultsLeft < 0) return await next()
        switch (wave.trouble) {
          case 'fails before':
            throw connectionLost()
          case 'fails after':
            await next()
            throw connectionLost()
          case 'hangs':
            return await new Promise<never>(() => undefined)
          default:
            return await next()
        }
      },
    }
    const answers = wave.commands.map((command) => this.#send(command))
    for (let tick = 0; tick < wave.ticks; tick++) await new Promise(setImmediate)
    if (wave.trouble === 'crash') await engine.pump(engine.restart())
    if (wave.trouble === 'time passes') engine.clock.advance(3000)
    await engine.pump(Promise.all(answers))
    if (wave.trouble !== 'crash') {
      this.counts.settled += engine.shard.gauges.settlements - settledBefore
    }
    assert.equal(engine.fault, undefined, 'the shard goes on')
    store.faults = {}
  }

  /** After one more crash: what the clients were told is in the journal, and nothing else. */
  async verify(): Promise<void> {
    const { engine } = this
    await engine.pump(engine.restart())
    // Holds that were due expire with the restart; after that nothing moves while we look.
    await engine.quiet()
    const found = await audit(this.#connectionString)
    assert.deepEqual(found.faults, [])
    for (const entry of this.#log) this.#verifyAnswer(entry, found)
    for (const { id, answer } of this.#reads) this.#verifyRead(id, answer, found)
    for (const id of accounts) {
      const answer = await engine.readAccount(id, 0)
      assert(answer.outcome === 'account')
      const expected = found.accounts.get(engine.keyTextOf(id))
      assert.deepEqual(balanceOf(answer.account), expected && balanceOf(expected))
    }
    this.#verifyIds(found)
    await this.#askAgain(found)
  }

  async #open(): Promise<void> {
    const account = { currency: 'EUR', scale: 2 }
    const made = accounts.map((id) =>
      this.engine.createAccount(
        customers.includes(id)
          ? { id, ...account, class: 'liability', overdraftLimit: id === 'c:2' ? '20' : '0' }
          : { id, ...account, class: 'asset', overdraftLimit: 'unlimited' },
      ),
    )
    const paid = customers.map((credit) =>
      this.engine.post({
        id: `open:${credit}`,
        postings: [{ debit: 'cash', credit, amount: '80' }],
      }),
    )
    for (const answer of await this.engine.pump(Promise.all([...made, ...paid]))) {
      assert.match(answer.outcome, /account|accepted/)
    }
  }

  async #send(command: CommandPick): Promise<void> {
    const { engine } = this
    switch (command.do) {
      case 'post':
      case 'hold':
        return await this.#submit(this.#newPost(command))
      case 'batch':
      case 'atomic': {
        const bodies = [0, 1, 2].map((index) => {
          const shifted = { ...command, a: command.a + index, b: command.b + 2 * index }
          return this.#newPost(shifted).body
        })
        const ids = bodies.map((body) => body.id)
        return await this.#submit({ kind: 'batch', ids, bodies, atomic: command.do === 'atomic' })
      }
      case 'settle': {
        const holds = this.#sent.filter((sent) => sent.kind === 'post' && sent.body.pending)
        const kind = command.follow
        return await this.#submit(this.#newFollowUp(kind, pickOf(holds, command.a), command))
      }
      case 'reverse': {
        const posts = this.#sent.filter((sent) => sent.kind !== 'batch')
        return await this.#submit(this.#newFollowUp('reverse', pickOf(posts, command.a), command))
      }
      case 'repeat': {
        const sent = pickOf(this.#sent, command.a)
        if (sent === undefined) return
        const changed = command.keepRest && command.conditional
        return await this.#submit(changed && sent.kind === 'post' ? changedPost(sent) : sent)
      }
      case 'change': {
        const id = pickOf(customers, command.a) ?? ''
        const overdraftLimit = String(command.units)
        const answer = await engine.changeAccount({ id, overdraftLimit })
        this.#reads.push({ id, answer })
        return
      }
      case 'read': {
        const id = pickOf(accounts, command.a) ?? ''
        const answer = await engine.readAccount(id, 0)
        this.#reads.push({ id, answer })
        if (answer.outcome === 'account') this.#versions.set(id, answer.account.version)
        return
      }
    }
  }

  #newPost(command: CommandPick): Extract<Sent, { kind: 'post' }> {
    this.#ids += 1
    const suffix = this.#ids.toString(16).padStart(12, '0')
    const id = command.b % 2 === 0 ? `p:${this.#ids}` : `018d0000-0000-7000-8000-${suffix}`
    const debit = pickOf(accounts, command.a) ?? ''
    const others = accounts.filter((account) => account !== debit)
    const credit = pickOf(others, command.b) ?? ''
    const body: NewTransaction = {
      id,
      postings: [{ debit, credit, amount: String(command.units) }],
    }
    if (command.units % 7 === 0) {
      body.postings.push({ debit: credit, credit: debit, amount: '1.50' })
    }
    if (command.do === 'hold') {
      body.pending = true
      if (command.expiring) body.expiresAt = this.engine.clock.now() + 100 * command.units
    }
    const version = this.#versions.get(debit)
    if (command.conditional && version !== undefined) {
      body.conditions = [{ account: debit, version }]
    }
    return { kind: 'post', ids: [id], body }
  }

  #newFollowUp(kind: FollowUp['kind'], target: Sent | undefined, command: CommandPick): Sent {
    const body: FollowUp = {
      kind,
      target: target?.ids[0] ?? 'nothing',
      // Few ids, so that the same one is used for several things at once.
      id: `f:${command.b % 4}`,
    }
    if (kind === 'post' && command.conditional && target?.kind === 'post') {
      body.amounts = target.body.postings.map(() => '0.50')
      if (command.keepRest) body.keepRest = true
    }
    return { kind: 'followUp', ids: [followUpId(body)], body }
  }

  async #submit(sent: Sent): Promise<void> {
    this.#sent.push(sent)
    const { engine } = this
    const answer = await {
      post: () => engine.post((sent as Extract<Sent, { kind: 'post' }>).body),
      followUp: () => engine.followUp((sent as Extract<Sent, { kind: 'followUp' }>).body),
      batch: () => {
        const { bodies, atomic } = sent as Extract<Sent, { kind: 'batch' }>
        return engine.batch(bodies, atomic)
      },
    }[sent.kind]()
    this.#log.push({ sent, answer })
    this.counts.commands += 1
    const { outcome } = answer
    if (outcome in this.counts) this.counts[outcome as 'accepted'] += 1
    if (answer.outcome !== 'accepted') return
    for (const [id, { version }] of Object.entries(answer.balances)) this.#versions.set(id, version)
  }

  #verifyAnswer({ sent, answer }: LogEntry, found: Audit): void {
    const entryOf = (id: string) => found.transactions.get(this.engine.keyTextOf(id))
    if (answer.outcome === 'accepted' || answer.outcome === 'replayed') {
      const entry = entryOf(sent.ids[0])
      assert(entry !== undefined, `${sent.ids[0]} was ${answer.outcome} and is not in the journal`)
      assert.equal(answer.seq, entry.seq, sent.ids[0])
      const amounts = answer.transaction.postings.map((posting) => posting.amount)
      assert.deepEqual(amounts, entry.amounts, sent.ids[0])
    }
    if (answer.outcome === 'accepted') {
      for (const [id, balance] of Object.entries(answer.balances))
        this.#verifyState(id, balance, found)
    }
    if (sent.kind !== 'batch') return
    const entries = sent.ids.map(entryOf)
    if (answer.outcome === 'batch') {
      for (const [index, item] of answer.items.entries()) {
        if (item.outcome !== 'refused') assert.equal(item.seq, entries[index]?.seq)
      }
    }
    const present = entries.filter((entry) => entry !== undefined).length
    if (sent.atomic) assert.ok(present === 0 || present === entries.length, 'all or nothing')
  }

  #verifyRead(id: string, answer: EngineAnswer, found: Audit): void {
    if (answer.outcome === 'account') this.#verifyState(id, answer.account, found)
  }

  /** A state that somebody was shown is one that the journal has, for ever. */
  #verifyState(id: string, state: Parameters<typeof balanceOf>[0], found: Audit): void {
    const states = found.states.get(this.engine.keyTextOf(id))
    assert.deepEqual(states?.get(state.version), balanceOf(state), `${id}@${state.version}`)
  }

  /** Per id: accepted once at most; in the journal if accepted, and not if only ever refused. */
  #verifyIds(found: Audit): void {
    const outcomes = new Map<string, string[]>()
    for (const { sent, answer } of this.#log) {
      for (const [index, id] of sent.ids.entries()) {
        const item = answer.outcome === 'batch' ? answer.items[index] : answer
        outcomes.set(id, [...(outcomes.get(id) ?? []), item.outcome])
      }
    }
    for (const [id, seen] of outcomes) {
      const accepted = seen.filter((outcome) => outcome === 'accepted').length
      assert.ok(accepted <= 1, `${id} was accepted ${accepted} times`)
      if (seen.includes('unanswered')) continue
      const present = found.transactions.has(this.engine.keyTextOf(id))
      assert.equal(present, accepted === 1, `${id}: ${seen.join(', ')}`)
    }
  }

  /** Asking again with the same id gives what is there, and changes nothing about it. */
  async #askAgain(found: Audit): Promise<void> {
    const { engine } = this
    const first = new Map<string, Extract<Sent, { kind: 'post' }>>()
    for (const sent of this.#sent) {
      if (sent.kind === 'post' && !first.has(sent.ids[0])) first.set(sent.ids[0], sent)
    }
    const answers = [...first.values()].map(async (sent) => ({
      sent,
      answer: await engine.post(sent.body),
    }))
    for (const { sent, answer } of await engine.pump(Promise.all(answers))) {
      const entry = found.transactions.get(engine.keyTextOf(sent.ids[0]))
      if (entry === undefined) assert.notEqual(answer.outcome, 'replayed', sent.ids[0])
      else if (answer.outcome === 'replayed') assert.equal(answer.seq, entry.seq)
      else
        assert.equal(answer.outcome === 'refused' && answer.code, 'id_reused_with_different_body')
    }
    assert.deepEqual((await audit(this.#connectionString)).faults, [])
  }
}

function changedPost(sent: Extract<Sent, { kind: 'post' }>): Sent {
  const [first, ...rest] = sent.body.postings
  const postings = [{ ...first, amount: '61' }, ...rest]
  return { ...sent, body: { ...sent.body, postings } }
}
