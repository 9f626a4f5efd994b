import { packr, paddedLength, readInteger, Word, writeInteger } from '../journal/record.js'
import { type AccountDetails, unlimited } from './accounts.js'
import { type BalanceView, balanceWords, readBalance, writeBalance } from './balance-entry.js'
import type { Book } from './book.js'
import type { FrameWriter } from './frame.js'
import type { HoldPosting } from './holds.js'

/**
 * Answers as they travel from a shard to the router:
 *
 *      0 u8 kind  1 u8 flags  2 u16 refusal   4 u32 length   8 u32 request   12 u32 index
 *     16 i64 seq  24 u32 stream  28 u32 a number of the kind
 *     32 body
 *
 * The body of `accepted` is the record, then a balance entry (balance-entry.ts) per account that it
 * touched (`number` of them); of `account` a balance entry and msgpack; of `transaction` msgpack;
 * of `batch` 16 bytes per item, as the binary batch answer has them (api/binary-batch.ts); of
 * `part` a balance entry, with the tenant as its number. `reached` has none.
 */
const ReplyKind = {
  accepted: 1,
  refused: 2,
  account: 3,
  transaction: 4,
  batch: 5,
  /** A shard's part of a striped account as it is now; answers no request. */
  part: 6,
  /** The shard, and all whom it told, have come as far as was asked. */
  reached: 7,
} as const

/** The id had already taken effect with the same body; nothing was done now. */
const replayedFlag = 1

const replyHeaderWords = 8
export const batchItemBytes = 16

export type Reply = {
  request: number
  stream: number
  seq: number
  /** On the monotonic clock: the answer must not be given later. */
  validUntil: number
} & (
  | {
      kind: 'accepted'
      replayed: boolean
      record: Uint32Array
      state: number
      balances: BalanceView[]
    }
  | { kind: 'refused'; refusal: number; index: number }
  | { kind: 'account'; replayed: boolean; balance: BalanceView; body: AccountReplyBody }
  | { kind: 'transaction'; state: number; body: TransactionReplyBody }
  | { kind: 'part'; tenant: number; balance: BalanceView }
  | { kind: 'reached' }
  | { kind: 'batch'; atomicRefusal: number; index: number; items: Buffer }
)

export interface AccountReplyBody extends AccountDetails {
  /** Minor units; null: unlimited. */
  overdraftLimit: bigint | null
  minimumBalance: bigint
  /** Milliseconds since 1970. */
  createdAt: number
}

export interface TransactionReplyBody {
  /** Position of the record that holds the transaction. */
  recordStream: number
  recordSeq: number
  /** The same id had taken effect before. */
  replayed: boolean
  /** Of a pending hold: what it still reserves per posting, in minor units. */
  remaining?: bigint[]
}

export class ReplyWriter {
  readonly #book: Book
  readonly #stream: number

  constructor(book: Book, stream: number) {
    this.#book = book
    this.#stream = stream
  }

  refused(frame: FrameWriter, request: number, refusal: number, index: number): void {
    const head = ReplyKind.refused | (refusal << 16)
    this.#begin(frame, head, { bytes: 0, request, index, seq: 0, number: 0 })
  }

  /** The record at `recordAt` took effect at `seq`; `rows` are the accounts it touched. */
  accepted(
    frame: FrameWriter,
    reply: { request: number; seq: number; state: number },
    record: { words: Uint32Array; at: number },
    rows: readonly number[],
  ): void {
    const recordWords = paddedLength(record.words[record.at + Word.length]) >> 2
    const bytes = (recordWords + rows.length * balanceWords) * 4
    const at = this.#begin(frame, ReplyKind.accepted | (reply.state << 8), {
      bytes,
      request: reply.request,
      index: 0,
      seq: reply.seq,
      number: rows.length,
    })
    frame.words.set(record.words.subarray(record.at, record.at + recordWords), at)
    let word = at + recordWords
    for (const row of rows) {
      this.balance(frame.words, word, row)
      word += balanceWords
    }
  }

  /** As {@link accepted}, with the balances of several shards, gathered as entries. */
  acceptedAcross(
    frame: FrameWriter,
    reply: { request: number; seq: number; state: number },
    record: Uint32Array,
    balances: Uint32Array,
  ): void {
    const at = this.#begin(frame, ReplyKind.accepted | (reply.state << 8), {
      bytes: record.byteLength + balances.byteLength,
      request: reply.request,
      index: 0,
      seq: reply.seq,
      number: balances.length / balanceWords,
    })
    frame.words.set(record, at)
    frame.words.set(balances, at + record.length)
  }

  account(frame: FrameWriter, request: number, row: number, replayed: boolean): void {
    const { accounts } = this.#book
    const overdraft = accounts.overdraftLimit.get(row)
    const details: AccountReplyBody = {
      ...accounts.details.get(row),
      overdraftLimit: overdraft === unlimited ? null : overdraft,
      minimumBalance: accounts.minimumBalance.get(row),
      createdAt: accounts.createdAt.get(row),
    }
    const body = packr.pack(details)
    const at = this.#begin(frame, ReplyKind.account | ((replayed ? replayedFlag : 0) << 8), {
      bytes: balanceWords * 4 + body.length,
      request,
      index: 0,
      seq: accounts.touchedSeq.get(row),
      number: body.length,
    })
    this.balance(frame.words, at, row)
    frame.writeBytes(at + balanceWords, body)
  }

  transaction(frame: FrameWriter, request: number, row: number, replayed: boolean): void {
    const { transactions, holds } = this.#book
    const hold = holds.get(row)
    const details: TransactionReplyBody = {
      recordStream: transactions.stream.get(row),
      recordSeq: transactions.seq.get(row),
      replayed,
      ...(hold && { remaining: hold.postings.map((posting: HoldPosting) => posting.remaining) }),
    }
    const body = packr.pack(details)
    const state = transactions.state.get(row)
    const at = this.#begin(frame, ReplyKind.transaction | (state << 8), {
      bytes: body.length,
      request,
      index: 0,
      seq: transactions.touchedSeq.get(row),
      number: body.length,
    })
    frame.writeBytes(at, body)
  }

  /** Tells the router what this shard's part of a striped account has become. */
  part(frame: FrameWriter, row: number): void {
    const tenant = this.#book.accounts.keys.tenantOf(row)
    const at = this.#begin(frame, ReplyKind.part, {
      bytes: balanceWords * 4,
      request: 0,
      index: 0,
      seq: this.#book.accounts.touchedSeq.get(row),
      number: tenant,
    })
    this.balance(frame.words, at, row)
  }

  reached(frame: FrameWriter, request: number, seq: number): void {
    this.#begin(frame, ReplyKind.reached, { bytes: 0, request, index: 0, seq, number: 0 })
  }

  /** Makes room for a batch's items and returns the word at which they start. */
  batch(
    frame: FrameWriter,
    request: number,
    result: { count: number; refusal: number; index: number; seq: number },
  ): number {
    return this.#begin(frame, ReplyKind.batch | (result.refusal << 16), {
      bytes: result.count * batchItemBytes,
      request,
      index: result.index,
      seq: result.seq,
      number: result.count,
    })
  }

  /** Writes the balance entry of an account of this shard at word `at`. */
  balance(words: Uint32Array, at: number, row: number): void {
    writeBalance(this.#book.accounts, this.#stream, words, at, row)
  }

  #begin(
    frame: FrameWriter,
    head: number,
    reply: { bytes: number; request: number; index: number; seq: number; number: number },
  ): number {
    const length = replyHeaderWords * 4 + reply.bytes
    const at = frame.begin(length)
    const { words } = frame
    words[at] = head
    words[at + 1] = length
    words[at + 2] = reply.request
    words[at + 3] = reply.index
    writeInteger(words, at + 4, reply.seq)
    words[at + 6] = this.#stream
    words[at + 7] = reply.number
    return at + replyHeaderWords
  }
}

/** Reads the reply at word `at`; returns it and where the next one starts. */
export function readReply(
  words: Uint32Array,
  at: number,
  validUntil: number,
): { reply: Reply; next: number } {
  const head = words[at]
  const flags = (head >>> 8) & 0xff
  const common = {
    request: words[at + 2],
    seq: readInteger(words, at + 4),
    stream: words[at + 6],
    validUntil,
  }
  const number = words[at + 7]
  const body = at + replyHeaderWords
  const next = at + (paddedLength(words[at + 1]) >> 2)
  switch (head & 0xff) {
    case ReplyKind.accepted: {
      const recordWords = paddedLength(words[body + Word.length]) >> 2
      const balances: BalanceView[] = []
      for (let index = 0; index < number; index++) {
        balances.push(readBalance(words, body + recordWords + index * balanceWords))
      }
      const record = words.subarray(body, body + recordWords)
      return {
        reply: { ...common, kind: 'accepted', replayed: false, state: flags, record, balances },
        next,
      }
    }
    case ReplyKind.refused:
      return {
        reply: { ...common, kind: 'refused', refusal: head >>> 16, index: words[at + 3] },
        next,
      }
    case ReplyKind.account:
      return {
        reply: {
          ...common,
          kind: 'account',
          replayed: (flags & replayedFlag) !== 0,
          balance: readBalance(words, body),
          body: packr.unpack(bytesAt(words, body + balanceWords, number)) as AccountReplyBody,
        },
        next,
      }
    case ReplyKind.transaction:
      return {
        reply: {
          ...common,
          kind: 'transaction',
          state: flags,
          body: packr.unpack(bytesAt(words, body, number)) as TransactionReplyBody,
        },
        next,
      }
    case ReplyKind.batch:
      return {
        reply: {
          ...common,
          kind: 'batch',
          atomicRefusal: head >>> 16,
          index: words[at + 3],
          items: bytesAt(words, body, number * batchItemBytes),
        },
        next,
      }
    case ReplyKind.part:
      return {
        reply: { ...common, kind: 'part', tenant: number, balance: readBalance(words, body) },
        next,
      }
    case ReplyKind.reached:
      return { reply: { ...common, kind: 'reached' }, next }
    default:
      throw new RangeError(`a shard sent a reply of the unknown kind ${head & 0xff}`)
  }
}

function bytesAt(words: Uint32Array, word: number, length: number): Buffer {
  return Buffer.from(words.buffer as ArrayBuffer, words.byteOffset + word * 4, length)
}
