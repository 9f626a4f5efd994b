import {
  ApplyWord,
  afterPeerMessage,
  Peer,
  PeerKind,
} from '../../src/actors/coordination/peer-message.js'
import { frameHeaderWords } from '../../src/actors/frame.js'
import { readReply } from '../../src/actors/reply.js'
import type { Shard } from '../../src/actors/shard.js'
import {
  type AppliedBody,
  paddedLength,
  RecordFlag,
  RecordKind,
  readBody,
  Word,
} from '../../src/journal/record.js'
import type { SealedBatch } from '../../src/journal/session.js'
import type { ProcessWatch } from './engine-process.js'
import { below } from './random.js'

/** What the shards are deciding on: transactions, or a striped account. */
export type Subject = 'transaction' | 'account'

export type MessageName = keyof typeof PeerKind

/** A point in the life of a process; each is passed many times. */
export type StepEvent =
  | `${'before' | 'after'} ${MessageName}`
  | `${'before' | 'after'} ${Role} append`
  | `${'before' | 'during' | 'after'} ${Role} commit`
  | `${'before' | 'after'} ${'accepted' | 'refused'} answer`
type Role = 'home' | 'participant'

interface Message {
  name: MessageName
  subject: Subject
}

interface Aim {
  event: StepEvent
  subject: Subject
  /** How often it is still to be passed before the process dies there. */
  passes: number
  died: () => void
}

/** Ticks of the event loop that a commit gets before it is cut off. */
const commitTicksMax = 300

/** Kills the process at one step of the protocol, which it recognises from outside the shards. */
export class ProtocolWatch implements ProcessWatch {
  readonly #random: () => number
  #kill: () => void = () => undefined
  #aim: Aim | undefined
  /** By home and number. */
  readonly #subjects = new Map<string, Subject>()
  /** Seq of the last record of each stream whose commit has begun. */
  readonly #begun = new Map<number, number>()
  /** The messages that a shard is taking at this moment. */
  #taking: Message[] = []

  constructor(random: () => number) {
    this.#random = random
  }

  /** Resolves when `kill` has been called: at the event, after it has been passed some times. */
  aim(aim: Omit<Aim, 'died'>, kill: () => void): Promise<void> {
    this.#kill = kill
    return new Promise((died) => {
      this.#aim = { ...aim, died }
    })
  }

  get isAimed(): boolean {
    return this.#aim !== undefined
  }

  disarm(): void {
    this.#aim = undefined
  }

  /** Numbers of coordinations and streams mean something else in the next process. */
  forget(): void {
    this.disarm()
    this.#subjects.clear()
    this.#begun.clear()
    this.#taking = []
  }

  send(frame: ArrayBuffer, to: number, next: () => void): void {
    for (const { name, subject } of this.#messagesOf(frame, to)) {
      if (this.#dies(`before ${name}`, subject)) return
    }
    next()
  }

  take(frame: ArrayBuffer, shard: Shard, next: () => void): void {
    const messages = this.#messagesOf(frame, shard.book.place.shard)
    for (const { name, subject } of messages) {
      const role = appendingRole(name)
      if (role !== undefined && this.#dies(`before ${role} append`, subject)) return
    }
    const seqBefore = lastSeqOf(shard)
    this.#taking = messages
    next()
    this.#taking = []
    const seq = lastSeqOf(shard)
    const waits = seq > seqBefore && seq > (this.#begun.get(shard.book.stream) ?? 0)
    for (const { name, subject } of messages) {
      const role = appendingRole(name)
      if (waits && role !== undefined && this.#dies(`after ${role} append`, subject)) return
      if (this.#dies(`after ${name}`, subject)) return
    }
  }

  async commit(batch: SealedBatch, next: () => Promise<void>): Promise<void> {
    this.#begun.set(batch.stream, batch.newHead)
    const records = coordinatedRecordsOf(batch)
    const never = new Promise<never>(() => undefined)
    for (const { role, subject } of records) {
      if (this.#dies(`before ${role} commit`, subject)) return await never
    }
    const done = next()
    if (records.some(({ role, subject }) => this.#meets(`during ${role} commit`, subject))) {
      done.catch(() => undefined)
      await this.#cutOff(done)
      return await never
    }
    await done
    for (const { role, subject } of records) {
      if (this.#dies(`after ${role} commit`, subject)) return await never
    }
  }

  answer(frame: ArrayBuffer, next: () => void): void {
    const answers = this.#answersOf(frame)
    for (const { name, subject } of answers) {
      if (this.#dies(`before ${name} answer`, subject)) return
    }
    next()
    for (const { name, subject } of answers) {
      if (this.#dies(`after ${name} answer`, subject)) return
    }
  }

  async #cutOff(commit: Promise<void>): Promise<void> {
    let settled = false
    const settle = () => {
      settled = true
    }
    commit.then(settle, settle)
    for (let tick = below(this.#random, commitTicksMax); tick > 0 && !settled; tick--) {
      await new Promise(setImmediate)
    }
    this.#die()
  }

  #meets(event: StepEvent, subject: Subject): boolean {
    const aim = this.#aim
    if (aim === undefined || aim.event !== event || aim.subject !== subject) return false
    aim.passes -= 1
    return aim.passes === 0
  }

  #dies(event: StepEvent, subject: Subject): boolean {
    if (!this.#meets(event, subject)) return false
    this.#die()
    return true
  }

  #die(): void {
    const died = this.#aim?.died
    this.#aim = undefined
    this.#kill()
    died?.()
  }

  #messagesOf(frame: ArrayBuffer, to: number): Message[] {
    const words = new Uint32Array(frame)
    const messages: Message[] = []
    let at = frameHeaderWords
    while (at < words.length && (words[at] & 0xff) !== 0) {
      messages.push({ name: nameOf(words[at] & 0xff), subject: this.#subjectOf(words, at, to) })
      at = afterPeerMessage(words, at)
    }
    return messages
  }

  #subjectOf(words: Uint32Array, at: number, to: number): Subject {
    const kind = words[at] & 0xff
    const isAnswer = answerKinds.has(kind)
    const name = `${isAnswer ? to : words[at + Peer.from]} ${words[at + Peer.coordination]}`
    if (!isAnswer && kind !== PeerKind.release) {
      const isAccount =
        kind === PeerKind.shut ||
        (kind === PeerKind.apply && isOfAccount(words[at + ApplyWord.record]))
      this.#subjects.set(name, isAccount ? 'account' : 'transaction')
    }
    return this.#subjects.get(name) ?? 'transaction'
  }

  /** The answers of commands that were decided with other shards. */
  #answersOf(frame: ArrayBuffer): { name: 'accepted' | 'refused'; subject: Subject }[] {
    const words = new Uint32Array(frame)
    const answers: { name: 'accepted' | 'refused'; subject: Subject }[] = []
    const released = this.#taking.find(({ name }) => name === 'released')
    let at = frameHeaderWords
    while (at < words.length && (words[at] & 0xff) !== 0) {
      const { reply, next } = readReply(words, at, 0)
      at = next
      const isRefusal =
        reply.kind === 'refused' || (reply.kind === 'batch' && reply.atomicRefusal !== 0)
      if (isRefusal) {
        if (released !== undefined) answers.push({ name: 'refused', subject: released.subject })
      } else if (reply.kind === 'account' && reply.balance.striped) {
        answers.push({ name: 'accepted', subject: 'account' })
      } else if (
        reply.kind === 'batch' ||
        (reply.kind === 'accepted' && isAcross(reply.record[0]))
      ) {
        answers.push({ name: 'accepted', subject: 'transaction' })
      }
    }
    return answers
  }
}

const answerKinds: ReadonlySet<number> = new Set([
  PeerKind.claimed,
  PeerKind.vote,
  PeerKind.applied,
  PeerKind.released,
])

function nameOf(kind: number): MessageName {
  const entry = Object.entries(PeerKind).find(([, number]) => number === kind)
  if (entry === undefined) throw new Error(`a message of kind ${kind}`)
  return entry[0] as MessageName
}

/** Whose record follows a message, if all that was waited for is there. */
function appendingRole(name: MessageName): Role | undefined {
  if (name === 'vote') return 'home'
  return name === 'apply' ? 'participant' : undefined
}

function lastSeqOf(shard: Shard): number {
  return shard.gauges.durableSeq + shard.gauges.openRecords
}

function isAcross(head: number): boolean {
  return ((head >>> 16) & RecordFlag.across) !== 0
}

function isOfAccount(head: number): boolean {
  const kind = head & 0xff
  return kind === RecordKind.accountCreated || kind === RecordKind.accountChanged
}

const copyHeaderBytes = 19
const rowHeaderBytes = 84

/** Of each record in a batch that concerns several shards: whose it is, and what it is of. */
function coordinatedRecordsOf({ copy }: SealedBatch): { role: Role; subject: Subject }[] {
  const records: { role: Role; subject: Subject }[] = []
  // Two bytes end the rows.
  for (let at = copyHeaderBytes; at < copy.length - 2; ) {
    const from = at + rowHeaderBytes
    at = from + copy.readInt32BE(from - 4)
    const words = new Uint32Array(Uint8Array.from(copy.subarray(from, at)).buffer)
    for (let word = 0; word < words.length; word += paddedLength(words[word + Word.length]) / 4) {
      const kind = words[word] & 0xff
      if (kind === RecordKind.postingApplied) {
        records.push({ role: 'participant', subject: 'transaction' })
      } else if (kind === RecordKind.applied) {
        const { of } = readBody<AppliedBody>(words, word)
        records.push({ role: 'participant', subject: isOfAccount(of) ? 'account' : 'transaction' })
      } else if (isAcross(words[word])) {
        const subject = isOfAccount(words[word]) ? 'account' : 'transaction'
        records.push({ role: 'home', subject })
      }
    }
  }
  return records
}
