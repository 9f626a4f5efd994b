import { Word } from '../../journal/record.js'
import type { Book } from '../book.js'
import { blockWords, CommandKind, conditionWords, TransactionWord } from '../command.js'
import type { FrameWriter } from '../frame.js'
import {
  askCredit,
  askDebit,
  beginPeerMessage,
  Peer,
  PeerKind,
  ReserveWord,
  reserveConditionWords,
  reservePostingWords,
  writeReservePosting,
} from './peer-message.js'
import { type PlannedItem, type PlannedPosting, shardOfAccount } from './planned-item.js'

interface AskedPosting {
  posting: PlannedPosting
  sides: number
}

interface AskedCondition {
  words: Uint32Array
  at: number
  item: number
  index: number
}

/** What one shard is asked to reserve: its sides of the postings, and its conditions. */
export interface ReserveRequest {
  postings: AskedPosting[]
  conditions: AskedCondition[]
}

/** What each shard has to be asked for, item by item in their order. */
export class ReserveRequests {
  readonly byShard = new Map<number, ReserveRequest>()
  readonly #book: Book

  constructor(book: Book) {
    this.#book = book
  }

  add(planned: PlannedItem, item: number): void {
    for (const posting of planned.postings) {
      const { debitShard, creditShard } = posting
      if (debitShard === creditShard) {
        this.#of(debitShard).postings.push({ posting, sides: askDebit | askCredit })
        continue
      }
      this.#of(debitShard).postings.push({ posting, sides: askDebit })
      this.#of(creditShard).postings.push({ posting, sides: askCredit })
    }
    if (planned.kind === CommandKind.transaction) this.#addConditions(planned, item)
  }

  #addConditions({ item: { words, at } }: PlannedItem, item: number): void {
    const tenant = words[at + Word.tenant]
    const first = at + TransactionWord.blocks + words[at + TransactionWord.postings] * blockWords
    const count = words[at + TransactionWord.conditions]
    for (let index = 0; index < count; index++) {
      const word = first + index * conditionWords
      const shard = shardOfAccount(this.#book, tenant, words, word)
      this.#of(shard).conditions.push({ words, at: word, item, index })
    }
  }

  #of(shard: number): ReserveRequest {
    let request = this.byShard.get(shard)
    if (request === undefined) {
      request = { postings: [], conditions: [] }
      this.byShard.set(shard, request)
    }
    return request
  }
}

export function writeReserve(
  frame: FrameWriter,
  { coordination, from, tenant }: { coordination: number; from: number; tenant: number },
  { postings, conditions }: ReserveRequest,
): void {
  const at = beginPeerMessage(frame, {
    kind: PeerKind.reserve,
    coordination,
    from,
    bytes:
      (ReserveWord.list -
        Peer.tenant +
        postings.length * reservePostingWords +
        conditions.length * reserveConditionWords) *
      4,
  })
  const { words } = frame
  words[at + Peer.tenant] = tenant
  words[at + ReserveWord.postings] = postings.length
  words[at + ReserveWord.conditions] = conditions.length
  words[at + ReserveWord.conditions + 1] = 0
  let word = at + ReserveWord.list
  for (const { posting, sides } of postings) {
    writeReservePosting(words, word, posting, sides)
    word += reservePostingWords
  }
  for (const condition of conditions) {
    for (let part = 0; part < conditionWords; part++) {
      words[word + part] = condition.words[condition.at + part]
    }
    words[word + 6] = condition.item
    words[word + 7] = condition.index
    word += reserveConditionWords
  }
}
