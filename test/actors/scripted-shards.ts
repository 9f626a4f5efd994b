import { accountClasses, type Counters } from '../../src/actors/accounts.js'
import { balanceWords } from '../../src/actors/balance-entry.js'
import {
  batchAtomicFlag,
  batchCountWord,
  CommandKind,
  commandBytes,
  minSeqWord,
} from '../../src/actors/command.js'
import { FrameWriter, frameHeaderWords, frameNumber } from '../../src/actors/frame.js'
import { refusalNumber } from '../../src/actors/refusals.js'
import { type AccountReplyBody, batchItemBytes } from '../../src/actors/reply.js'
import { Router, type RouterLimits } from '../../src/actors/router.js'
import { noIndex } from '../../src/actors/transaction-decision.js'
import {
  currencyWords,
  packr,
  readInteger,
  Word,
  writeBigint,
  writeInteger,
} from '../../src/journal/record.js'
import {
  formatKey,
  type Key,
  keyFromWords,
  keyOf,
  slotCount,
  writeKeyWords,
} from '../../src/key.js'
import { TestClock } from './test-clock.js'

/** A command as a shard gets it; a batch with its items. */
export interface Command {
  kind: number
  request: number
  tenant: number
  id: Key
  /** What a read asks for. */
  minSeq: number
  /** Ids of a batch's items; empty for any other command. */
  items: string[]
  isAtomic: boolean
}

/** A balance of an account in EUR; counters that are not given are zero. */
export interface ScriptedBalance {
  account: Key
  seq: number
  striped?: boolean
  counters?: Partial<Counters>
}

/** What a shard says. The numbers of kinds are those of src/actors/reply.ts. */
export type Scripted =
  | { kind: 'accepted'; seq: number; record: Uint32Array; balances: ScriptedBalance[] }
  | { kind: 'refused'; code: keyof typeof refusalNumber }
  | { kind: 'account'; replayed?: boolean; balance: ScriptedBalance }
  | { kind: 'transaction'; seq: number; state: number; body: object }
  | { kind: 'batch'; seq: number; items: { seq: number; refusal?: keyof typeof refusalNumber }[] }
  | { kind: 'atomicRefusal'; code: keyof typeof refusalNumber; index: number }
  | { kind: 'reached'; seq: number }

/**
 * A router before shards that a test plays: it sees every command, and answers as the script says.
 * Slot s belongs to shard s % N, as dealSlots has it.
 */
export class ScriptedShards {
  readonly clock = new TestClock()
  readonly router: Router
  /** Every command in the order of arrival, with its shard. */
  readonly seen: { shard: number; command: Command }[] = []
  /** Until when what the shards say may be given, on the monotonic clock. */
  validUntil = Number.POSITIVE_INFINITY
  readonly #streams: readonly number[]

  /** A command for which `answer` returns nothing stays without an answer. */
  constructor(
    streams: readonly number[],
    answer: (shard: number, command: Command) => Scripted | undefined,
    limits: Partial<RouterLimits> = {},
  ) {
    this.#streams = streams
    const ports = streams.map((stream, shard) => ({
      stream,
      send: (frame: ArrayBuffer) => {
        for (const command of commandsIn(frame)) {
          this.seen.push({ shard, command })
          const said = answer(shard, command)
          if (said !== undefined) this.say(shard, command.request, said)
        }
      },
    }))
    this.router = new Router(
      this.clock,
      {
        inFlightCommandsMax: 10_000,
        inFlightBytesMax: 1 << 28,
        requestTimeoutMs: 1000,
        ...limits,
      },
      ports,
      Int32Array.from({ length: slotCount }, (_, slot) => slot % streams.length),
    )
  }

  /** A shard tells its part of a striped account, unasked. */
  tellPart(shard: number, tenant: number, balance: ScriptedBalance): void {
    this.#send(shard, (frame) => {
      const reply = { bytes: balanceWords * 4, request: 0, seq: balance.seq, number: tenant }
      this.#writeBalance(frame, this.#begin(frame, shard, 6, reply), shard, balance)
    })
  }

  /** A shard answers a request. */
  say(shard: number, request: number, said: Scripted): void {
    this.#send(shard, (frame) => this.#write(frame, shard, request, said))
  }

  /** Resolves when as many commands as these have come to the shards. */
  async arrived(commands: number): Promise<void> {
    while (this.seen.length < commands) await ticks()
  }

  #send(shard: number, write: (frame: FrameWriter) => void): void {
    const frame = new FrameWriter()
    write(frame)
    // What the port of a worker does: never within the call that sends.
    this.clock.nextTick(() => this.router.receive(frame.take(this.validUntil)))
    if (shard >= this.#streams.length) throw new RangeError(`there is no shard ${shard}`)
  }

  #write(frame: FrameWriter, shard: number, request: number, said: Scripted): void {
    switch (said.kind) {
      case 'accepted': {
        const { record, balances, seq } = said
        const bytes = record.byteLength + balances.length * balanceWords * 4
        const number = balances.length
        const at = this.#begin(frame, shard, 1, { bytes, request, seq, number })
        frame.words.set(record, at)
        for (const [index, balance] of balances.entries()) {
          this.#writeBalance(frame, at + record.length + index * balanceWords, shard, balance)
        }
        return
      }
      case 'refused':
        this.#begin(frame, shard, 2, {
          bytes: 0,
          request,
          seq: 0,
          number: 0,
          refusal: refusalNumber[said.code],
        })
        return
      case 'account': {
        const body = packr.pack(accountBody)
        const at = this.#begin(frame, shard, 3, {
          bytes: balanceWords * 4 + body.length,
          request,
          seq: said.balance.seq,
          number: body.length,
          flags: said.replayed === true ? 1 : 0,
        })
        this.#writeBalance(frame, at, shard, said.balance)
        frame.writeBytes(at + balanceWords, body)
        return
      }
      case 'transaction': {
        const { seq, state } = said
        const body = packr.pack(said.body)
        const reply = { bytes: body.length, request, seq, number: body.length, flags: state }
        frame.writeBytes(this.#begin(frame, shard, 4, reply), body)
        return
      }
      case 'batch':
        this.#writeBatch(frame, shard, request, said)
        return
      case 'atomicRefusal':
        this.#begin(frame, shard, 5, {
          bytes: 0,
          request,
          seq: 0,
          number: 0,
          refusal: refusalNumber[said.code],
          index: said.index,
        })
        return
      case 'reached':
        this.#begin(frame, shard, 7, { bytes: 0, request, seq: said.seq, number: 0 })
        return
    }
  }

  #writeBatch(
    frame: FrameWriter,
    shard: number,
    request: number,
    { items, seq }: Extract<Scripted, { kind: 'batch' }>,
  ): void {
    const bytes = items.length * batchItemBytes
    const at = this.#begin(frame, shard, 5, { bytes, request, seq, number: items.length })
    for (const [index, item] of items.entries()) {
      const word = at + (index * batchItemBytes) / 4
      const refusal = item.refusal === undefined ? 0 : refusalNumber[item.refusal]
      frame.words[word] = refusal === 0 ? 0 : 2 | (refusal << 16)
      frame.words[word + 1] = refusal === 0 ? this.#streams[shard] : 0
      writeInteger(frame.words, word + 2, item.seq)
    }
  }

  #begin(
    frame: FrameWriter,
    shard: number,
    kind: number,
    reply: {
      bytes: number
      request: number
      seq: number
      number: number
      flags?: number
      refusal?: number
      index?: number
    },
  ): number {
    const at = frame.begin(32 + reply.bytes)
    const { words } = frame
    words[at] = kind | ((reply.flags ?? 0) << 8) | ((reply.refusal ?? 0) << 16)
    words[at + 1] = 32 + reply.bytes
    words[at + 2] = reply.request
    words[at + 3] = reply.index ?? noIndex
    writeInteger(words, at + 4, reply.seq)
    words[at + 6] = this.#streams[shard]
    words[at + 7] = reply.number
    return at + 8
  }

  #writeBalance(frame: FrameWriter, at: number, shard: number, balance: ScriptedBalance): void {
    const { words } = frame
    const { debitsPosted = 0n, creditsPosted = 0n } = balance.counters ?? {}
    const { debitsPending = 0n, creditsPending = 0n } = balance.counters ?? {}
    writeKeyWords(words, at, balance.account)
    for (const [index, counter] of [
      debitsPosted,
      creditsPosted,
      debitsPending,
      creditsPending,
    ].entries()) {
      writeBigint(words, at + 4 + index * 2, counter)
    }
    writeInteger(words, at + 12, 1)
    words.set(currencyWords('EUR'), at + 14)
    words[at + 16] =
      2 | (accountClasses.indexOf('asset') << 8) | ((balance.striped === true ? 1 : 0) << 24)
    words[at + 17] = this.#streams[shard]
    writeInteger(words, at + 18, balance.seq)
    words.fill(0, at + 20, at + balanceWords)
  }
}

const accountBody: AccountReplyBody = {
  overdraftLimit: null,
  minimumBalance: 0n,
  createdAt: Date.UTC(2024, 0, 29),
}

function commandsIn(frame: ArrayBuffer): Command[] {
  const words = new Uint32Array(frame)
  const commands: Command[] = []
  let at = frameHeaderWords
  for (let read = 0; read < frameNumber(frame); read++) {
    const isBatch = (words[at] & 0xff) === CommandKind.batch
    const command: Command = {
      kind: words[at] & 0xff,
      request: words[at + Word.time],
      tenant: words[at + Word.tenant],
      id: keyFromWords(words, at + Word.id),
      minSeq: isBatch ? 0 : readInteger(words, at + minSeqWord),
      items: [],
      isAtomic: isBatch && ((words[at] >>> 16) & batchAtomicFlag) !== 0,
    }
    const items = isBatch ? words[at + batchCountWord] : 0
    at += commandBytes(words, at) / 4
    for (let item = 0; item < items; item++) {
      command.items.push(formatKey(keyFromWords(words, at + Word.id)))
      at += commandBytes(words, at) / 4
    }
    read += items
    commands.push(command)
  }
  return commands
}

/** Resolves when what was under way between router and shards has arrived. */
export function ticks(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

/** A v4 key in `slot`, a different one for each `number`. */
export function keyIn(slot: number, number: number): Key {
  const tail = number.toString(16).padStart(6, '0')
  const low = (slot + 0xf800).toString(16).slice(-4)
  const key = keyOf(1, `00000000-0000-4000-8${'0'.repeat(3)}-00${tail}${low}`)
  if (key === undefined) throw new RangeError(`no key for slot ${slot}, number ${number}`)
  return key
}
