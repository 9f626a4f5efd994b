import assert from 'node:assert/strict'
import { keyOf, slotOf } from '../../src/key.js'
import type { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import type { AccountChange, FollowUp, NewAccount, NewTransaction } from './model.js'
import type { Subject } from './protocol-watch.js'
import { below } from './random.js'

/** One transaction, decided by its home together with the shards of its accounts. */
export const transactionKinds = [
  'transfer',
  'home elsewhere',
  'several postings',
  'hold',
  'post',
  'void',
  'expiry',
  'reversal',
  'condition',
] as const

/** What clients ask for; each name is a way through the protocol between shards. */
export const commandKinds = [
  ...transactionKinds,
  'batch',
  'refused transfer',
  'refused batch',
  'striped creation',
  'striped change',
  'striped closing',
  'refused closing',
] as const
export type CommandKind = (typeof commandKinds)[number]

export const subjectOf = (kind: CommandKind): Subject =>
  kind.startsWith('striped') || kind === 'refused closing' ? 'account' : 'transaction'

/** Always refused, for a reason of its own, and not because of what others do. */
export const isAlwaysRefused = (kind: CommandKind): boolean => kind.startsWith('refused')

/** A command, and what its client knows of its fate. */
export type Sent = {
  kind: CommandKind
  fate: 'unanswered' | 'accepted' | 'refused'
  answer?: EngineAnswer
} & (
  | { does: 'post'; body: NewTransaction }
  | { does: 'followUp'; body: FollowUp }
  | { does: 'batch'; bodies: NewTransaction[] }
  | { does: 'create'; body: NewAccount & { striped: true } }
  | { does: 'change'; body: AccountChange }
)
type Command = Sent extends infer S ? (S extends Sent ? Omit<S, 'fate' | 'answer'> : never) : never

export const members = ['m:0', 'm:1', 'm:2', 'm:3', 'm:4', 'm:5', 'm:6', 'm:7']
/** Nobody credits it, and it may not be overdrawn. */
export const poor = 'poor'
/** Striped, and never empty. */
export const cash = 'cash'

/** What is there to be followed, reversed or closed; whoever takes something takes it out. */
export interface Stock {
  holds: NewTransaction[]
  posted: NewTransaction[]
  /** Striped accounts that nobody posts to. */
  striped: string[]
}

type Posting = NewTransaction['postings'][number]

/** Makes commands whose keys are on the shards that their kind asks for. */
export class StepCommands {
  readonly stock: Stock = { holds: [], posted: [], striped: [] }
  readonly #random: () => number
  #engine!: Engine
  #ids = 0

  constructor(random: () => number) {
    this.#random = random
  }

  /** The process that the commands are for, which has several shards. */
  serve(engine: Engine): void {
    this.#engine = engine
  }

  make(kind: CommandKind): Sent {
    return { ...this.#command(kind), fate: 'unanswered' }
  }

  #command(kind: CommandKind): Command {
    switch (kind) {
      case 'transfer':
      case 'home elsewhere':
      case 'several postings':
      case 'hold':
      case 'expiry':
      case 'condition':
      case 'refused transfer':
        return { kind, does: 'post', body: this.#transaction(kind) }
      case 'post':
      case 'void':
        return { kind, does: 'followUp', body: this.#settlement(kind) }
      case 'reversal': {
        const { id: target } = taken(this.stock.posted)
        return { kind, does: 'followUp', body: { kind: 'reverse', target, id: this.#id() } }
      }
      case 'batch':
      case 'refused batch':
        return { kind, does: 'batch', bodies: this.#batch(kind === 'refused batch') }
      case 'striped creation': {
        const id = this.#id()
        const body = { id, currency: 'EUR', scale: 2, class: 'asset', striped: true } as const
        return { kind, does: 'create', body }
      }
      case 'striped change':
        return { kind, does: 'change', body: { id: cash, metadata: { change: this.#id() } } }
      case 'striped closing':
        return { kind, does: 'change', body: { id: taken(this.stock.striped), status: 'closed' } }
      case 'refused closing':
        return { kind, does: 'change', body: { id: cash, status: 'closed' } }
    }
  }

  #transaction(kind: CommandKind): NewTransaction {
    const [debit, credit] = this.#pair()
    const postings = [this.#posting(debit, credit)]
    const id = this.#idOn(this.#shardOf(debit))
    switch (kind) {
      case 'home elsewhere': {
        const own = [debit, credit].map((account) => this.#shardOf(account))
        const shards = this.#engine.shards.map((_, shard) => shard)
        const others = shards.filter((shard) => !own.includes(shard))
        return { id: this.#idOn(others[below(this.#random, others.length)] ?? own[1]), postings }
      }
      case 'several postings': {
        const more = [this.#posting(cash, debit), this.#posting(...this.#pair())]
        return { id, postings: [...postings, ...more] }
      }
      case 'hold':
        postings.push(this.#posting(credit, cash))
        return { id, postings, pending: true }
      case 'expiry':
        return { id, postings, pending: true, expiresAt: this.#engine.clock.now() + expiryMs }
      case 'condition': {
        const account = [debit, credit][below(this.#random, 2)]
        const version = versionOf(this.#engine, account)
        return { id, postings, conditions: [{ account, version }] }
      }
      case 'refused transfer':
        return { id, postings: [...postings, this.#posting(poor, debit)] }
      default:
        return { id, postings }
    }
  }

  #settlement(kind: 'post' | 'void'): FollowUp {
    const hold = taken(this.stock.holds)
    const body: FollowUp = { kind, target: hold.id, id: this.#id() }
    if (kind === 'post' && below(this.#random, 2) === 0) body.amounts = hold.postings.map(() => '1')
    return body
  }

  /** Ids on at least two shards, so that some are foreign to the home, which is that of the first. */
  #batch(isRefused: boolean): NewTransaction[] {
    const [first, second] = this.#pair()
    const bodies = [first, second, first].map((debit, index) => ({
      id: this.#idOn(this.#shardOf(debit)),
      postings: [this.#posting(debit, members.filter((id) => id !== debit)[index])],
    }))
    if (isRefused) bodies.push({ id: this.#id(), postings: [this.#posting(poor, second)] })
    return bodies
  }

  #posting(debit: string, credit: string): Posting {
    return { debit, credit, amount: String(1 + below(this.#random, 20)) }
  }

  /** Two members, on different shards if there are several. */
  #pair(): [string, string] {
    const isAlone = this.#engine.shards.length === 1
    for (;;) {
      const [debit, credit] = [0, 1].map(() => members[below(this.#random, members.length)])
      if (isAlone && debit !== credit) return [debit, credit]
      if (this.#shardOf(debit) !== this.#shardOf(credit)) return [debit, credit]
    }
  }

  #id(): string {
    this.#ids += 1
    return `t:${this.#ids}`
  }

  #idOn(shard: number): string {
    for (;;) {
      const id = this.#id()
      if (this.#shardOf(id) === shard) return id
    }
  }

  #shardOf(name: string): number {
    return this.#engine.router.shardOf(slotOf(keyOfName(name)))
  }
}

/** Holds that expire do so after this on the test's clock. */
export const expiryMs = 300

export function keyOfName(name: string) {
  const key = keyOf(1, name)
  assert(key !== undefined)
  return key
}

/** The version of an account as memory has it. */
export function versionOf(engine: Engine, account: string): number {
  for (const { book } of engine.shards) {
    const row = book.accounts.find(1, keyOfName(account))
    if (row >= 0) return book.accounts.version.get(row)
  }
  throw new Error(`no shard has ${account}`)
}

/** Sends a command and notes what its client learns. */
export async function send(engine: Engine, sent: Sent): Promise<EngineAnswer> {
  const answer = await ask(engine, sent)
  sent.answer = answer
  if (answer.outcome === 'refused') sent.fate = 'refused'
  else if (answer.outcome !== 'unanswered') sent.fate = 'accepted'
  return answer
}

async function ask(engine: Engine, sent: Sent): Promise<EngineAnswer> {
  switch (sent.does) {
    case 'post':
      return await engine.post(sent.body)
    case 'followUp':
      return await engine.followUp(sent.body)
    case 'batch':
      return await engine.batch(sent.bodies, true)
    case 'create':
      return await engine.createAccount(sent.body)
    case 'change':
      return await engine.changeAccount(sent.body)
  }
}

function taken<T>(from: T[]): T {
  const first = from.shift()
  assert(first !== undefined, 'the stock has run out')
  return first
}
