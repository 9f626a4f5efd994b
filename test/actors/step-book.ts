import assert from 'node:assert/strict'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { readLayout } from '../../src/journal/take-over.js'
import { emptyBook, withClient } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import { assertViews, digestOfJournal } from './journal-check.js'
import type { NewTransaction } from './model.js'
import type { ProtocolStep } from './protocol-step-table.js'
import { ProtocolWatch } from './protocol-watch.js'
import { below, randomOf } from './random.js'
import type { ReadingSessions } from './reading-sessions.js'
import {
  type CommandKind,
  cash,
  commandKinds,
  expiryMs,
  isAlwaysRefused,
  members,
  poor,
  type Sent,
  StepCommands,
  send,
  subjectOf,
  versionOf,
} from './step-commands.js'
import { keyTextOf, StepLedger } from './step-ledger.js'

/** Commands under way beside the one that is to meet the step. */
const othersPerRound = 5
/** How often commands are sent until the step is met. */
const attemptsMax = 60
const stockMin = 3

export interface StepBookOptions {
  connectionString: string
  seed: number
  sessions: ReadingSessions
  /** Counts what became of commands that a crash left without an answer. */
  fates: Map<string, number>
}

/** One book, over some lives of its process. */
export class StepBook {
  readonly #options: StepBookOptions
  readonly #random: () => number
  readonly #watch: ProtocolWatch
  readonly #commands: StepCommands
  readonly #sent: Sent[] = []
  #engine!: Engine
  #ledger!: StepLedger

  static async open(options: StepBookOptions): Promise<StepBook> {
    const book = new StepBook(options)
    await book.#open()
    return book
  }

  private constructor(options: StepBookOptions) {
    this.#options = options
    this.#random = randomOf(options.seed)
    this.#watch = new ProtocolWatch(this.#random)
    this.#commands = new StepCommands(this.#random)
  }

  async close(): Promise<void> {
    await this.#engine?.close()
  }

  async #open(): Promise<void> {
    const { connectionString, sessions } = this.#options
    await emptyBook(connectionString)
    sessions.forget()
    this.#engine = await Engine.start({
      connectionString,
      shards: this.#pick([2, 3, 4]),
      wrap: (store) => sessions.around(store),
      watch: this.#watch,
    })
    this.#serve()
    const account = { currency: 'EUR', scale: 2, class: 'liability' } as const
    const made = await Promise.all([
      ...members.map((id) =>
        this.#engine.createAccount({ ...account, id, overdraftLimit: '1000000' }),
      ),
      this.#engine.createAccount({ ...account, id: poor }),
      this.#engine.createAccount({ ...account, id: cash, class: 'asset', striped: true }),
    ])
    for (const { outcome } of made) assert.equal(outcome, 'account')
    await this.#accept([this.#post('open', [{ debit: cash, credit: members[0], amount: '9999' }])])
    await this.#fillStock()
  }

  /** Commands beside each other, a crash at the step, another process, and a look at everything. */
  async crash(step: ProtocolStep, kind: CommandKind): Promise<void> {
    const wave = await this.#untilDead(step, kind)
    const same = this.#engine.shards.length
    await this.#restart(this.#pick([same, same, 1, 2, 2, 3, 3, 4, 4, 7]))
    await this.#verify(wave)
    await this.#askAgain(wave)
    await this.#sweep()
    const { digest } = this.#engine
    const { connectionString, sessions } = this.#options
    const store = sessions.around(postgresStore(postgresDatabase(connectionString, 5000)))
    const layout = await withClient(connectionString, readLayout)
    const read = await digestOfJournal(layout, store, this.#pick([1, 2, 3]))
    assert.equal(read, digest, 'the journal gives the same digest to any number of shards')
    if (this.#engine.shards.length > 1) return
    // One shard has nobody to talk to.
    await this.#restart(this.#pick([2, 3, 4, 7]))
    assert.equal(this.#engine.digest, digest, 'a restart of a quiet book keeps its digest')
  }

  /** Sends commands until the process dies; returns them. */
  async #untilDead(step: ProtocolStep, kind: CommandKind): Promise<Sent[]> {
    const wave: Sent[] = []
    const { event } = step
    let passes = 1 + below(this.#random, 2)
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      await this.#fillStock()
      const kinds = this.#mixed(kind)
      const expiring = kinds.filter((each) => each === 'expiry').map(() => this.#make('expiry'))
      await this.#accept(expiring)
      const died = this.#watch.aim({ event, subject: subjectOf(kind), passes }, () =>
        this.#engine.crash(),
      )
      const answered = this.#sendAll(kinds, wave)
      // Who waits for a dead process waits for ever.
      await Promise.race([died, answered.then(() => this.#engine.quiet())])
      await answered
      if (!this.#watch.isAimed) return wave
      this.#watch.disarm()
      this.#takeIntoStock(wave)
      passes = 1
    }
    throw new Error(`${kind} does not come to the step`)
  }

  /** The kind that is wanted at some place among others. */
  #mixed(kind: CommandKind): CommandKind[] {
    const kinds = Array.from({ length: othersPerRound }, () => this.#pick(commandKinds))
    kinds.splice(below(this.#random, kinds.length), 0, kind)
    // Holds expire at once, all of them; and there is one stock to take from.
    const once = new Set<CommandKind>()
    return kinds.filter((each) => {
      const isScarce = ['expiry', 'post', 'void', 'reversal', 'striped closing'].includes(each)
      if (!isScarce) return true
      const isFirst = !once.has(each)
      once.add(each)
      return isFirst
    })
  }

  async #sendAll(kinds: readonly CommandKind[], wave: Sent[]): Promise<void> {
    const answers: Promise<unknown>[] = []
    for (const kind of kinds) {
      for (let tick = below(this.#random, 4); tick > 0; tick--) await new Promise(setImmediate)
      if (!this.#watch.isAimed) break
      if (kind === 'expiry') {
        this.#engine.clock.advance(expiryMs)
        continue
      }
      const sent = this.#make(kind)
      wave.push(sent)
      answers.push(send(this.#engine, sent))
    }
    await Promise.all(answers)
  }

  async #restart(shards: number): Promise<void> {
    this.#watch.forget()
    await this.#engine.pump(this.#engine.restart(shards), 1)
    this.#serve()
    await this.#quiet()
    assert.equal(this.#engine.shards.length, shards)
  }

  #serve(): void {
    this.#ledger = new StepLedger(this.#engine)
    this.#commands.serve(this.#engine)
  }

  /** What was answered is so, what was not is so wholly or not at all, and nothing is left over. */
  async #verify(wave: readonly Sent[]): Promise<void> {
    this.#ledger.assertNothingHeld()
    for (const sent of this.#sent) {
      const effect = this.#ledger.hasEffect(sent)
      if (sent.fate === 'accepted') assert.notEqual(effect, false, 'what was acknowledged is there')
      if (sent.fate === 'refused') assert.notEqual(effect, true, 'what was refused is not there')
    }
    for (const { kind, fate, answer, ...sent } of wave) {
      if (answer?.outcome === 'refused' && !isAlwaysRefused(kind)) {
        assert.match(answer.code, /funds_reserved|version_conflict/, kind)
      }
      if (fate !== 'unanswered') continue
      const effect = this.#ledger.hasEffect({ kind, fate, ...sent } as Sent)
      if (effect !== undefined) this.#count(`${kind}: ${effect ? 'durable' : 'lost'}`)
    }
    this.#ledger.assertBalances(this.#sent)
    this.#engine.clock.advance(expiryMs)
    await this.#quiet()
    this.#ledger.assertBalances(this.#sent)
  }

  /** What is there is answered as it is in the journal; the rest is decided as if it were new. */
  async #askAgain(wave: readonly Sent[]): Promise<void> {
    // A condition and a change keep others from an account while they are decided.
    const isAlone = ({ kind, does }: Sent) => kind === 'condition' || does === 'change'
    await Promise.all(wave.filter((sent) => !isAlone(sent)).map((sent) => this.#again(sent)))
    for (const sent of wave.filter(isAlone)) await this.#again(sent)
    for (const sent of wave) if (sent.does === 'post') await this.#askWithAnotherBody(sent)
    await this.#quiet()
    this.#ledger.assertBalances(this.#sent)
    this.#takeIntoStock(wave)
  }

  async #again(sent: Sent): Promise<void> {
    const { kind } = sent
    const had = this.#ledger.hasEffect(sent)
    const versions =
      sent.does === 'post'
        ? sent.body.conditions?.map(({ account }) => versionOf(this.#engine, account))
        : undefined
    const answer = await send(this.#engine, sent)
    if (isAlwaysRefused(kind)) {
      assert.equal(
        codeOf(answer),
        kind === 'refused closing' ? 'balance_not_zero' : 'insufficient_funds',
      )
    } else if (had === true) this.#assertReplayed(sent, answer)
    else if (sent.does === 'post' && sent.body.conditions?.[0].version !== versions?.[0]) {
      assert.equal(codeOf(answer), 'version_conflict')
    } else {
      assert.equal(codeOf(answer), undefined, `${kind} is accepted now`)
      if (answer.outcome === 'batch') assertItems(answer, 'accepted')
    }
  }

  #assertReplayed(sent: Sent, answer: EngineAnswer): void {
    switch (sent.does) {
      case 'post':
      case 'followUp': {
        const id = sent.does === 'post' ? sent.body.id : keyTextOf(this.#engine, sent.body)
        assert(answer.outcome === 'replayed', `${sent.kind} is ${answer.outcome}`)
        assert.equal(answer.seq, this.#ledger.seqOf(id))
        assert.equal(
          answer.transaction.postings.length > 0,
          answer.transaction.status !== 'hold void',
        )
        return
      }
      case 'batch':
        assertItems(answer, 'replayed')
        return
      case 'create':
      case 'change':
        assert.equal(answer.outcome, 'account')
    }
  }

  async #askWithAnotherBody({ kind, body }: Extract<Sent, { does: 'post' }>): Promise<void> {
    if (this.#ledger.stateOf(body.id) === undefined || below(this.#random, 4) > 0) return
    const answer = await this.#engine.post({ ...body, code: 77 })
    assert.equal(codeOf(answer), 'id_reused_with_different_body', kind)
  }

  /** Nothing stands in the way of a transaction over all accounts. */
  async #sweep(): Promise<void> {
    const all = [...members, cash]
    const postings = members.map((debit, index) => ({ debit, credit: all[index + 1], amount: '1' }))
    await this.#accept([this.#post(`sweep:${this.#sent.length}`, postings)])
    await this.#fillStock()
    await this.#quiet()
    this.#ledger.assertNothingHeld()
  }

  #post(id: string, postings: NewTransaction['postings']): Sent {
    const sent: Sent = {
      ...{ kind: 'several postings', fate: 'unanswered', does: 'post' },
      body: { id, postings },
    }
    this.#sent.push(sent)
    return sent
  }

  #make(kind: CommandKind): Sent {
    const sent = this.#commands.make(kind)
    this.#sent.push(sent)
    return sent
  }

  async #accept(commands: readonly Sent[]): Promise<void> {
    await Promise.all(commands.map((sent) => send(this.#engine, sent)))
    for (const { kind, fate, answer } of commands) {
      assert.equal(fate, 'accepted', `${kind}: ${answer && codeOf(answer)}`)
    }
  }

  async #fillStock(): Promise<void> {
    const { holds, posted, striped } = this.#commands.stock
    const made: Sent[] = []
    for (let count = holds.length; count < stockMin; count++) made.push(this.#make('hold'))
    for (let count = posted.length; count < stockMin; count++) made.push(this.#make('transfer'))
    for (let count = striped.length; count < 1; count++) made.push(this.#make('striped creation'))
    await this.#accept(made)
    this.#takeIntoStock(made)
  }

  readonly #stocked = new Set<Sent>()

  /** What has taken effect can be followed, reversed or closed, once. */
  #takeIntoStock(sent: readonly Sent[]): void {
    const { holds, posted, striped } = this.#commands.stock
    for (const each of sent) {
      if (each.fate !== 'accepted' || this.#stocked.has(each)) continue
      this.#stocked.add(each)
      if (each.kind === 'hold' && each.does === 'post') holds.push(each.body)
      if (each.kind === 'transfer' && each.does === 'post') posted.push(each.body)
      if (each.does === 'create') striped.push(each.body.id)
    }
  }

  async #quiet(): Promise<void> {
    await this.#engine.quiet()
    assert.equal(this.#engine.fault, undefined)
  }

  async assertViews(): Promise<void> {
    await assertViews(this.#options.connectionString, this.#ledger.posted())
  }

  #count(what: string): void {
    const { fates } = this.#options
    fates.set(what, (fates.get(what) ?? 0) + 1)
  }

  #pick<T>(from: readonly T[]): T {
    return from[below(this.#random, from.length)]
  }
}

function codeOf(answer: EngineAnswer): string | undefined {
  if (answer.outcome === 'refused') return answer.code
  return answer.outcome === 'unanswered' || answer.outcome === 'overloaded'
    ? answer.outcome
    : undefined
}

function assertItems(answer: EngineAnswer, outcome: 'accepted' | 'replayed'): void {
  assert(answer.outcome === 'batch', answer.outcome)
  for (const item of answer.items) assert.equal(item.outcome, outcome)
}
