import assert from 'node:assert/strict'
import t from 'tap'
import { offDomain } from '../off-domain.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook, withClient } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import { type BalanceView, type FollowUp, followUpId, type NewTransaction } from './model.js'
import { below, randomOf } from './random.js'

t.setTimeout(1_800_000)

const shardCounts = [1, 2, 3, 4, 7]
const wavesPerRun = 4
const clientsPerWave = 24

t.test('transfers in circles over shards lose and create nothing, whatever crashes', async (t) => {
  const postgres = await temporaryPostgres(t)
  const seed = Number(process.env.DAYBOOK_TEST_SEED ?? 20240305)
  const runs = Number(process.env.DAYBOOK_TEST_RUNS ?? 1)
  const seen = new Map<string, number>()
  for (const shards of [2, 4]) {
    await t.test(`beginning with ${shards} shards`, async (t) => {
      offDomain(t)
      const connectionString = await postgres.createDatabase()
      for (let run = 0; run < runs; run++) {
        t.comment(`DAYBOOK_TEST_SEED=${seed + run}`)
        const circles = await Circles.start(connectionString, shards, seed + run, seen)
        try {
          for (let wave = 0; wave < wavesPerRun; wave++) await circles.turn(wave)
        } finally {
          await circles.engine.close()
        }
      }
    })
  }
  t.comment([...seen].map(([what, count]) => `${what} ${count}`).join(', '))
  const wanted = ['accepted', 'account', 'unanswered', 'replayed', 'hold posted', 'hold voided']
  const refusals = ['funds_reserved', 'insufficient_funds', 'version_conflict']
  for (const what of [...wanted, ...refusals]) t.ok(seen.has(what), `there were some ${what}`)
})

/** Each currency has a circle of accounts of its own, which one account funds. */
const circles = [
  { currency: 'EUR', members: ['a:1', 'a:2', 'a:3', 'a:4', 'a:5', 'a:6', 'a:7', 'a:8'] },
  { currency: 'CZK', members: ['k:1', 'k:2', 'k:3', 'k:4'] },
] as const
const members: readonly string[] = circles.flatMap((circle) => circle.members)
const funds: readonly string[] = circles.map(({ currency }) => `fund:${currency}`)
const scale = 2
const unit = 10n ** BigInt(scale)
const funding = 20
/** Overdraft limits, in major units; the other members have none to draw on. */
const overdrafts = new Map([
  ['a:2', 5],
  ['k:3', 10],
])

type Counters = Omit<BalanceView, 'version'>

/** A command that some client sent, and what it knows of its fate. */
type Sent = { id: string; fate: 'unanswered' | 'accepted' | 'refused'; seq?: number } & (
  | { kind: 'post'; body: NewTransaction }
  | { kind: 'followUp'; body: FollowUp }
)

/** Clients that send money around, each waiting only for its own answers. */
class Circles {
  readonly engine: Engine
  readonly #connectionString: string
  readonly #seed: number
  readonly #random: () => number
  readonly #seen: Map<string, number>
  readonly #sent: Sent[] = []
  /** The last version that was shown of each account. */
  readonly #versions = new Map<string, number>()
  /** What was shown of an account at a version stays true, over crashes too. */
  readonly #states = new Map<string, Counters>()
  #shards: number

  static async start(
    connectionString: string,
    shards: number,
    seed: number,
    seen: Map<string, number>,
  ): Promise<Circles> {
    await emptyBook(connectionString)
    const engine = await Engine.start({ connectionString, shards })
    const circles = new Circles(connectionString, engine, seed, seen)
    await circles.#open()
    return circles
  }

  private constructor(
    connectionString: string,
    engine: Engine,
    seed: number,
    seen: Map<string, number>,
  ) {
    this.engine = engine
    this.#connectionString = connectionString
    this.#seed = seed
    this.#random = randomOf(seed)
    this.#seen = seen
    this.#shards = engine.shards.length
  }

  /** Load, a crash in the middle of it, and a look at everything. */
  async turn(wave: number): Promise<void> {
    const { engine } = this
    const first = this.#sent.length
    // The wave ends with whatever is answered at that moment; much is on its way between shards.
    const crashAt = first + 40 + below(this.#random, 200)
    const crashed = new Promise<void>((resolve) => {
      this.#onSent = () => {
        if (this.#sent.length >= crashAt) resolve()
      }
    })
    const clients = Array.from({ length: clientsPerWave }, (_, client) =>
      this.#client(randomOf(this.#seed + 1000 * (wave + 1) + client)),
    )
    await engine.pump(crashed, 10)
    for (let tick = below(this.#random, 12); tick > 0; tick--) await new Promise(setImmediate)
    await this.#restart()
    await engine.pump(Promise.all(clients), 10)
    await this.#verify(this.#sent.slice(first))

    const before = engine.digest
    await this.#restart()
    assert.equal(engine.digest, before, 'a restart of a quiet book keeps its digest')
    await this.#verify([])
  }

  #onSent: () => void = () => undefined

  async #open(): Promise<void> {
    const { engine } = this
    const made = circles.flatMap(({ currency, members }) => [
      engine.createAccount({
        ...{ id: `fund:${currency}`, currency, scale, class: 'equity' },
        overdraftLimit: 'unlimited',
      }),
      ...members.map((id) =>
        engine.createAccount({
          ...{ id, currency, scale, class: 'liability' },
          overdraftLimit: String(overdrafts.get(id) ?? 0),
        }),
      ),
    ])
    for (const answer of await engine.pump(Promise.all(made), 10)) {
      assert.equal(answer.outcome, 'account')
    }
    const funded = circles.flatMap(({ currency, members }) =>
      members.map((credit) => {
        const posting = { debit: `fund:${currency}`, credit, amount: String(funding) }
        return this.#submit({ kind: 'post', body: { id: `open:${credit}`, postings: [posting] } })
      }),
    )
    await engine.pump(Promise.all(funded), 10)
    assert(this.#sent.every(({ fate }) => fate === 'accepted'))
    for (const { book } of engine.shards) assert.ok(book.accounts.count > 0, 'all have accounts')
  }

  /** A crash under whatever is going on, and a process with another number of shards. */
  async #restart(): Promise<void> {
    const others = shardCounts.filter((count) => count !== this.#shards)
    this.#shards = others[below(this.#random, others.length)]
    await this.engine.pump(this.engine.restart(this.#shards))
    await this.engine.quiet()
    assert.equal(this.engine.fault, undefined)
    assert.equal(this.engine.shards.length, this.#shards)
  }

  /** Sends one command after the other until the process is gone. */
  async #client(random: () => number): Promise<void> {
    for (;;) {
      if (below(random, 3) === 0) {
        const id = members[below(random, members.length)]
        const answer = await this.engine.readAccount(id, 0)
        if (answer.outcome === 'unanswered') return
        assert(answer.outcome === 'account', answer.outcome)
        this.#note(id, answer.account)
        this.#count('account')
      } else {
        const holds = this.#sent.filter(({ kind, body }) => kind === 'post' && 'pending' in body)
        const hold = holds[holds.length - 1 - below(random, Math.min(holds.length, 30))]
        const follows = hold !== undefined && below(random, 4) === 0
        const sent = await this.#submit(follows ? this.#follow(random, hold) : this.#post(random))
        if (sent.fate === 'unanswered') return
      }
    }
  }

  #post(random: () => number): { kind: 'post'; body: NewTransaction } {
    const postings = [this.#posting(random)]
    if (below(random, 3) === 0) postings.push(this.#posting(random))
    const body: NewTransaction = { id: `p:${this.#sent.length}`, postings }
    if (below(random, 3) === 0) body.pending = true
    const account = postings[below(random, postings.length)].debit
    const version = this.#versions.get(account)
    if (below(random, 6) === 0 && version !== undefined) body.conditions = [{ account, version }]
    return { kind: 'post', body }
  }

  /** From an account to one of the next in its circle. */
  #posting(random: () => number): { debit: string; credit: string; amount: string } {
    const { members } = circles[below(random, 3) === 0 ? 1 : 0]
    const from = below(random, members.length)
    const to = (from + 1 + below(random, members.length - 1)) % members.length
    const amount = String(1 + below(random, funding - 2))
    return { debit: members[from], credit: members[to], amount }
  }

  #follow(random: () => number, hold: Sent): { kind: 'followUp'; body: FollowUp } {
    const kind = below(random, 2) === 0 ? 'post' : 'void'
    const body: FollowUp = { kind, target: hold.id, id: `f:${this.#sent.length}` }
    if (hold.kind === 'post' && kind === 'post' && below(random, 3) === 0) {
      body.amounts = hold.body.postings.map(() => '1')
    }
    return { kind: 'followUp', body }
  }

  async #submit(
    command: { kind: 'post'; body: NewTransaction } | { kind: 'followUp'; body: FollowUp },
  ): Promise<Sent> {
    const id = command.kind === 'post' ? command.body.id : followUpId(command.body)
    const sent: Sent = { ...command, id, fate: 'unanswered' }
    this.#sent.push(sent)
    this.#onSent()
    await this.#ask(sent)
    return sent
  }

  async #ask(sent: Sent): Promise<EngineAnswer> {
    const { engine } = this
    const answer = await (sent.kind === 'post'
      ? engine.post(sent.body)
      : engine.followUp(sent.body))
    this.#count(answer.outcome === 'refused' ? answer.code : answer.outcome)
    if (answer.outcome === 'refused') sent.fate = 'refused'
    if (answer.outcome === 'accepted' || answer.outcome === 'replayed') {
      if (answer.outcome === 'accepted') {
        for (const [id, balance] of Object.entries(answer.balances)) this.#note(id, balance)
      }
      sent.fate = 'accepted'
      sent.seq = answer.seq
    }
    return answer
  }

  /** What anybody is shown of an account. */
  #note(id: string, shown: BalanceView): void {
    const { debitsPosted, creditsPosted, debitsPending, creditsPending, version } = shown
    const counters = { debitsPosted, creditsPosted, debitsPending, creditsPending }
    if (members.includes(id)) {
      const least = -BigInt(overdrafts.get(id) ?? 0) * unit
      const available = creditsPosted - debitsPosted - debitsPending
      assert.ok(available >= least, `${id}@${version} has ${available} available`)
    }
    const state = `${id}@${version}`
    assert.deepEqual(counters, this.#states.get(state) ?? counters, state)
    this.#states.set(state, counters)
    this.#versions.set(id, Math.max(version, this.#versions.get(id) ?? 0))
  }

  /** While nothing is under way: `wave` is what was sent since the last look. */
  async #verify(wave: Sent[]): Promise<void> {
    const { engine } = this
    await engine.quiet()
    this.#assertConservation()
    await engine.pump(Promise.all(this.#sent.map((sent) => this.#verifyFate(sent))), 10)
    await engine.pump(Promise.all(wave.map((sent) => this.#askAgain(sent))), 10)
    await engine.quiet()
    this.#assertConservation()
    await this.#verifyBalances()
  }

  async #verifyFate(sent: Sent): Promise<void> {
    const answer = await this.engine.readTransaction(sent.id, 0)
    if (answer.outcome !== 'read') {
      assert.equal(answer.outcome === 'refused' && answer.code, 'transaction_not_found', sent.id)
      assert.notEqual(sent.fate, 'accepted', `${sent.id} was acknowledged and is lost`)
      return
    }
    assert.notEqual(sent.fate, 'refused', `${sent.id} was refused and is there`)
    if (sent.fate === 'accepted') assert.equal(answer.seq, sent.seq, sent.id)
    this.#count(answer.transaction.status)
    // Nobody was told, but it has happened; asking again must find it.
    sent.fate = 'accepted'
    sent.seq = answer.seq
  }

  /** What is there replays; what nobody was told and is not there is decided only now. */
  async #askAgain(sent: Sent): Promise<void> {
    if (sent.fate === 'refused') return
    const { fate, seq } = sent
    const answer = await this.#ask(sent)
    if (fate === 'accepted') {
      assert.equal(answer.outcome, 'replayed', sent.id)
      assert.equal(sent.seq, seq, sent.id)
    } else assert.match(answer.outcome, /accepted|refused/, sent.id)
  }

  #assertConservation(): void {
    const sums = new Map<string, [bigint, bigint]>()
    for (const { book } of this.engine.shards) {
      const { accounts } = book
      assert.equal(book.reservations.count, 0, 'nothing stays reserved')
      for (let row = 0; row < accounts.count; row++) {
        const { code } = accounts.currencyOf(row)
        const [posted, pending] = sums.get(code) ?? [0n, 0n]
        sums.set(code, [
          posted + accounts.debitsPosted.get(row) - accounts.creditsPosted.get(row),
          pending + accounts.debitsPending.get(row) - accounts.creditsPending.get(row),
        ])
      }
    }
    assert.equal(sums.size, circles.length)
    for (const [code, sum] of sums) assert.deepEqual(sum, [0n, 0n], `${code}: debits are credits`)
  }

  /** Accounts are what the accepted commands make of them, and so says the journal. */
  async #verifyBalances(): Promise<void> {
    const expected = this.#expected()
    const journal = await journalBalances(this.#connectionString)
    for (const id of [...members, ...funds]) {
      const answer = await this.engine.readAccount(id, 0)
      assert(answer.outcome === 'account', answer.outcome)
      this.#note(id, answer.account)
      const { debitsPosted, creditsPosted, debitsPending, creditsPending } = answer.account
      const counters = { debitsPosted, creditsPosted, debitsPending, creditsPending }
      assert.deepEqual(counters, expected.get(id), id)
      const key = this.engine.keyTextOf(id)
      assert.deepEqual(journal.get(key), { debitsPosted, creditsPosted }, `${id} in the journal`)
    }
  }

  #expected(): Map<string, Counters> {
    const none = { debitsPosted: 0n, creditsPosted: 0n, debitsPending: 0n, creditsPending: 0n }
    const balances = new Map([...members, ...funds].map((id) => [id, { ...none }]))
    const accepted = this.#sent.filter(({ fate }) => fate === 'accepted')
    const ends = new Map<string, FollowUp>()
    for (const { kind, body } of accepted) {
      if (kind !== 'followUp') continue
      assert.ok(!ends.has(body.target), `${body.target} has one end`)
      ends.set(body.target, body)
    }
    for (const { kind, id, body } of accepted) {
      if (kind !== 'post') continue
      const end = ends.get(id)
      if (end?.kind === 'void') continue
      const isPending = body.pending === true && end === undefined
      for (const [index, { debit, credit, amount }] of body.postings.entries()) {
        const minor = BigInt(end?.amounts?.[index] ?? amount) * unit
        const [debited, credited] = [balances.get(debit), balances.get(credit)]
        assert(debited !== undefined && credited !== undefined)
        debited[isPending ? 'debitsPending' : 'debitsPosted'] += minor
        credited[isPending ? 'creditsPending' : 'creditsPosted'] += minor
      }
    }
    return balances
  }

  #count(what: string): void {
    this.#seen.set(what, (this.#seen.get(what) ?? 0) + 1)
  }
}

/** Posted turnover of each account by key, as the views of a quiet journal give it. */
async function journalBalances(
  connectionString: string,
): Promise<Map<string, Pick<Counters, 'debitsPosted' | 'creditsPosted'>>> {
  return await withClient(connectionString, async (client) => {
    const unapplied = await client.query('select * from daybook.unapplied')
    assert.deepEqual(unapplied.rows, [], 'everything has been applied')
    const { rows } = await client.query<{
      account: string
      currency: string
      debits: string
      credits: string
    }>(
      `select account, currency, debits_posted_minor::text as debits,
         credits_posted_minor::text as credits from daybook.balances`,
    )
    const sums = new Map<string, bigint>()
    for (const { currency, debits, credits } of rows) {
      sums.set(currency, (sums.get(currency) ?? 0n) + BigInt(debits) - BigInt(credits))
    }
    assert.deepEqual([...sums.values()], [0n, 0n], 'each currency sums to zero')
    return new Map(
      rows.map(({ account, debits, credits }) => [
        account,
        { debitsPosted: BigInt(debits), creditsPosted: BigInt(credits) },
      ]),
    )
  })
}
