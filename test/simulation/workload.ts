import { slotCount } from '../../src/key.js'
import type { AccountChange, FollowUp, NewAccount, NewTransaction } from '../actors/model.js'
import { below } from '../actors/random.js'
import type { Command } from './commands.js'

type Posting = NewTransaction['postings'][number]
type Account = NewAccount & { striped?: true }

const euro = { currency: 'EUR', scale: 2 } as const

/** Accounts with little money and tight limits, so that what one does stands in the way of another. */
const members: Account[] = [
  { id: 'm:0', ...euro, class: 'liability', overdraftLimit: '0' },
  { id: 'm:1', ...euro, class: 'liability', overdraftLimit: '0' },
  { id: 'm:2', ...euro, class: 'liability', overdraftLimit: '15' },
  { id: 'm:3', ...euro, class: 'liability', overdraftLimit: '0', minimumBalance: '5' },
  { id: 'm:4', ...euro, class: 'liability', overdraftLimit: 'unlimited' },
  { id: 'm:5', ...euro, class: 'asset', overdraftLimit: '40' },
]
/** Nobody who has euros can post to it. */
const foreign: Account = { id: 'usd', currency: 'USD', scale: 2, class: 'equity' }
/** Every shard has a part of it. */
const cash: Account = { id: 'cash', ...euro, class: 'asset', striped: true }

/** What there must be before anything else: accounts, and some money in them. */
export const opening: Command[] = [
  ...[...members, cash, foreign].map((body) => ({ does: 'create account', body }) as const),
  ...members.slice(0, 4).map(
    ({ id }): Command => ({
      does: 'post',
      body: { id: `open:${id}`, postings: [{ debit: 'cash', credit: id, amount: '20' }] },
    }),
  ),
]

/** Commands of clients, one after the other, made from numbers alone: what came of others is not known. */
export class Workload {
  readonly #random: () => number
  /** Time of the world's wall clock when a step will be about to happen. */
  readonly #wallMs: (afterMs: number) => number
  readonly #sent: Command[] = []
  readonly #posted: string[] = []
  readonly #holds: { id: string; postings: number }[] = []
  readonly #scratch: string[] = []
  #ids = 0

  constructor(random: () => number, wallMs: (afterMs: number) => number) {
    this.#random = random
    this.#wallMs = wallMs
  }

  next(): Command {
    const command = this.#next()
    this.#sent.push(command)
    return command
  }

  #next(): Command {
    const last = this.#sent.at(-1)
    if (last?.does === 'batch' && this.#random() < 0.4) {
      return { does: 'post', body: this.#pick(last.bodies) }
    }
    const dice = this.#random()
    if (dice < 0.34) return { does: 'post', body: this.#transfer() }
    if (dice < 0.42) return { does: 'post', body: this.#hold() }
    if (dice < 0.53) return this.#followUp()
    if (dice < 0.6) return this.#batch()
    if (dice < 0.64) return { does: 'post', body: this.#conditional() }
    if (dice < 0.66) return { does: 'post', body: this.#imported() }
    if (dice < 0.78) return this.#again()
    if (dice < 0.86) return { does: 'read account', id: this.#pick([...this.#members(), 'cash']) }
    if (dice < 0.91)
      return { does: 'read transaction', id: this.#pick([...this.#posted, 'open:m:0']) }
    return this.#accountCommand()
  }

  #transfer(): NewTransaction {
    const count = this.#random() < 0.75 ? 1 : 2 + below(this.#random, 3)
    const id = this.#id()
    this.#posted.push(id)
    return { id, postings: Array.from({ length: count }, () => this.#posting()) }
  }

  #hold(): NewTransaction {
    const body: NewTransaction = { ...this.#transfer(), pending: true }
    this.#posted.pop()
    this.#holds.push({ id: body.id, postings: body.postings.length })
    if (this.#random() < 0.5) body.expiresAt = this.#wallMs(1 + below(this.#random, 4000))
    return body
  }

  #conditional(): NewTransaction {
    const body = this.#transfer()
    const [{ debit }] = body.postings
    const account = debit === 'cash' ? 'm:0' : debit
    return { ...body, conditions: [{ account, version: 1 + below(this.#random, 8) }] }
  }

  /** History of another system may leave accounts beyond their limits. */
  #imported(): NewTransaction {
    return { ...this.#transfer(), imported: true }
  }

  #followUp(): Command {
    const isReversal = this.#random() < 0.3
    const posted = [...this.#posted, 'open:m:1'].map((id) => ({ id, postings: 1 }))
    const { id: target, postings } = this.#pick(
      isReversal ? posted : [...this.#holds, ...posted.slice(-1)],
    )
    const kind = isReversal ? 'reverse' : this.#random() < 0.6 ? 'post' : 'void'
    const body: FollowUp = { kind, target, id: this.#id() }
    if (kind === 'post' && this.#random() < 0.4) {
      const count = this.#random() < 0.1 ? 1 : postings
      body.amounts = Array.from({ length: count }, () => String(1 + below(this.#random, 6)))
      if (this.#random() < 0.5) body.keepRest = true
    }
    return { does: 'follow up', body }
  }

  #batch(): Command {
    const count = 2 + below(this.#random, 3)
    const bodies = Array.from({ length: count }, () => this.#item())
    if (this.#random() < 0.3) bodies.splice(below(this.#random, count), 1, ...this.#sentBefore())
    return { does: 'batch', how: this.#pick(['atomic', 'atomic', 'ordered', 'unordered']), bodies }
  }

  #item(): NewTransaction {
    const dice = this.#random()
    if (dice < 0.7) return this.#transfer()
    if (dice < 0.8) return this.#hold()
    return dice < 0.9 ? this.#conditional() : this.#imported()
  }

  /** A transaction that was sent by itself a moment ago, perhaps with another body now. */
  #sentBefore(): NewTransaction[] {
    const recent = this.#sent.slice(-4).flatMap((sent) => (sent.does === 'post' ? [sent.body] : []))
    const body = recent.at(-1)
    if (body === undefined) return []
    return [this.#random() < 0.3 ? { ...body, code: 78 } : body]
  }

  /** The same command once more, or its id with another body. */
  #again(): Command {
    const recent = this.#sent.slice(-12).filter(({ does }) => !does.startsWith('read'))
    if (recent.length === 0) return { does: 'post', body: this.#transfer() }
    const command = this.#pick(recent)
    if (this.#random() >= 0.15) return command
    switch (command.does) {
      case 'post':
        return { does: 'post', body: { ...command.body, code: 77 } }
      case 'batch': {
        const [first, ...rest] = command.bodies
        return { ...command, bodies: [{ ...first, code: 77 }, ...rest] }
      }
      case 'create account':
        return { ...command, body: { ...command.body, type: 'other' } }
      default:
        return command
    }
  }

  #accountCommand(): Command {
    const dice = this.#random()
    if (dice < 0.3) {
      const id = `s:${this.#scratch.length}`
      this.#scratch.push(id)
      const striped = this.#random() < 0.4 ? ({ striped: true } as const) : {}
      return { does: 'create account', body: { id, ...euro, class: 'equity', ...striped } }
    }
    if (dice < 0.5 && this.#scratch.length > 0) {
      return { does: 'change account', body: { id: this.#pick(this.#scratch), status: 'closed' } }
    }
    if (dice < 0.75) {
      const status = this.#pick(['frozen', 'active', 'active', 'dormant'] as const)
      return { does: 'change account', body: { id: this.#pick(['m:2', 'm:5', 'cash']), status } }
    }
    if (dice < 0.9) {
      const body: AccountChange = { id: this.#pick(['m:1', 'm:2', 'm:3']) }
      if (this.#random() < 0.7) body.overdraftLimit = this.#pick(['0', '10', '30'])
      else body.minimumBalance = this.#pick(['0', '5', '8'])
      if (this.#random() < 0.2) body.version = 1 + below(this.#random, 8)
      return { does: 'change account', body }
    }
    const metadata = { [this.#pick(['one', 'other'])]: this.#id() }
    return { does: 'change account', body: { id: this.#pick(['cash', 'm:0']), metadata } }
  }

  #posting(): Posting {
    const names = [...this.#members(), 'cash', ...this.#scratch.slice(-1)]
    const debit = this.#pick(names)
    const others = names.filter((name) => name !== debit)
    const credit = this.#random() < 0.01 ? foreign.id : this.#pick(others)
    return { debit, credit, amount: String(1 + below(this.#random, 9)) }
  }

  #members(): string[] {
    return members.map(({ id }) => id)
  }

  /** A name, or a UUID on any slot: a plain posting with a UUID has the fixed-width record. */
  #id(): string {
    this.#ids += 1
    if (this.#random() < 0.4) return `t:${this.#ids}`
    const number = String(this.#ids).padStart(4, '0')
    const slot = below(this.#random, slotCount).toString(16).padStart(4, '0')
    return `00000000-${number}-8000-8000-00000000${slot}`
  }

  #pick<T>(from: readonly T[]): T {
    return from[below(this.#random, from.length)]
  }
}
