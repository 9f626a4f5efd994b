import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import {
  type AccountChangedBody,
  type AccountCreatedBody,
  type FollowUpBody,
  plainPostingBody,
  RecordKind,
  readBody,
  type TransactionBody,
  viewRecord,
} from '../../src/journal/record.js'
import { Replay } from '../../src/journal/replay.js'
import { formatKey, keyFromBytes } from '../../src/key.js'
import type { BalanceView } from './model.js'

/** What a journal says, worked out record by record with Maps, apart from the code of the engine. */
export interface Audit {
  /** By account and version: the state that some record left behind. */
  states: Map<string, Map<number, BalanceView>>
  /** By account: its state at the end. */
  accounts: Map<string, BalanceView>
  /** By key: the seq of the record that made the transaction, and what it moves. */
  transactions: Map<string, { seq: number; amounts: bigint[]; hold: boolean }>
  /** Whatever is not as it must be, in words. */
  faults: string[]
  head: number
}

interface AuditAccount extends BalanceView {
  debitNormal: boolean
  overdraftLimit: bigint | null
  minimumBalance: bigint
}

interface AuditHold {
  postings: { debit: string; credit: string; remaining: bigint }[]
  ended: boolean
}

/** Reads the whole journal of stream 1 and follows every record. */
export async function audit(connectionString: string): Promise<Audit> {
  const auditor = new Auditor()
  const session = await postgresStore(postgresDatabase(connectionString, 5000)).open()
  try {
    const { head, digest } = await session.readHead(1)
    const replay = new Replay(1, { seq: 0, digest: emptyDigest }, digestChain())
    for await (const chunk of session.readChunks(1, 0, head)) {
      replay.read(chunk, (words, at, seq) => auditor.follow(words, at, seq))
    }
    replay.assertEnd(head, digest)
    auditor.head = head
  } finally {
    session.close()
  }
  auditor.assertConservation()
  return auditor
}

class Auditor implements Audit {
  readonly states = new Map<string, Map<number, BalanceView>>()
  readonly accounts = new Map<string, AuditAccount>()
  readonly transactions = new Map<string, { seq: number; amounts: bigint[]; hold: boolean }>()
  readonly faults: string[] = []
  head = 0
  readonly #holds = new Map<string, AuditHold>()
  readonly #reversed = new Set<string>()
  #lastTime = 0
  #nextSeq = 1

  follow(words: Uint32Array, at: number, seq: number): void {
    const record = viewRecord(words, at)
    const id = formatKey(record.id)
    this.#expect(seq === this.#nextSeq, `seq ${seq} follows ${this.#nextSeq - 1}`)
    this.#nextSeq = seq + 1
    this.#expect(record.time >= this.#lastTime, `${seq}: time runs back`)
    this.#lastTime = record.time
    switch (record.kind) {
      case RecordKind.accountCreated:
        this.#create(id, readBody<AccountCreatedBody>(words, at))
        break
      case RecordKind.accountChanged:
        this.#change(id, readBody<AccountChangedBody>(words, at))
        break
      case RecordKind.posting:
      case RecordKind.transaction: {
        const plain = record.kind === RecordKind.posting
        const body = plain ? plainPostingBody(words, at) : readBody<TransactionBody>(words, at)
        this.#transact({ id, seq, pending: record.pending, imported: record.imported }, body)
        break
      }
      case RecordKind.reversal: {
        const body = readBody<FollowUpBody>(words, at)
        const target = keyText(body.target)
        this.#expect(!this.#reversed.has(target), `${seq}: ${target} is reversed twice`)
        this.#reversed.add(target)
        this.#transact({ id, seq, pending: false, imported: false }, body)
        break
      }
      case RecordKind.holdPosted:
      case RecordKind.holdVoided:
      case RecordKind.holdExpired:
        this.#settle(id, seq, record.kind, readBody<FollowUpBody>(words, at))
        break
    }
  }

  assertConservation(): void {
    const sum = { posted: 0n, pending: 0n }
    for (const account of this.accounts.values()) {
      sum.posted += account.debitsPosted - account.creditsPosted
      sum.pending += account.debitsPending - account.creditsPending
    }
    this.#expect(sum.posted === 0n && sum.pending === 0n, 'debits are not credits')
  }

  #create(id: string, body: AccountCreatedBody): void {
    this.#expect(!this.accounts.has(id), `account ${id} is created twice`)
    const account: AuditAccount = {
      version: 0,
      debitsPosted: 0n,
      creditsPosted: 0n,
      debitsPending: 0n,
      creditsPending: 0n,
      debitNormal: body.class === 'asset' || body.class === 'expense',
      overdraftLimit: body.overdraftLimit,
      minimumBalance: body.minimumBalance,
    }
    this.accounts.set(id, account)
    this.#touch([id])
  }

  #change(id: string, body: AccountChangedBody): void {
    const account = this.#account(id)
    if (body.overdraftLimit !== undefined) account.overdraftLimit = body.overdraftLimit
    if (body.minimumBalance !== undefined) account.minimumBalance = body.minimumBalance
    this.#touch([id])
  }

  #transact(
    record: { id: string; seq: number; pending: boolean; imported: boolean },
    body: Pick<TransactionBody, 'postings'>,
  ): void {
    const { id, seq, pending, imported } = record
    const postings = body.postings.map(([debit, credit, amount]) => ({
      debit: keyText(debit),
      credit: keyText(credit),
      remaining: amount,
    }))
    this.#remember(
      id,
      seq,
      postings.map((posting) => posting.remaining),
      pending,
    )
    if (pending) this.#holds.set(id, { postings, ended: false })
    for (const { debit, credit, remaining } of postings) {
      const from = this.#account(debit)
      const to = this.#account(credit)
      from[pending ? 'debitsPending' : 'debitsPosted'] += remaining
      to[pending ? 'creditsPending' : 'creditsPosted'] += remaining
      if (imported) continue
      if (!from.debitNormal) this.#assertLimit(debit, seq)
      if (to.debitNormal) this.#assertLimit(credit, seq)
    }
    this.#touch(postings.flatMap(({ debit, credit }) => [debit, credit]))
  }

  #settle(id: string, seq: number, kind: RecordKind, body: FollowUpBody): void {
    const target = keyText(body.target)
    const hold = this.#holds.get(target)
    if (hold === undefined || hold.ended) {
      this.faults.push(`${seq}: hold ${target} is settled when it is not pending`)
      return
    }
    if (kind !== RecordKind.holdExpired) {
      this.#remember(
        id,
        seq,
        // A void names the accounts of its hold, and moves nothing.
        kind === RecordKind.holdVoided ? [] : body.postings.map((posting) => posting[2]),
        false,
      )
    }
    for (const [index, posting] of hold.postings.entries()) {
      const posted = body.postings[index]?.[2] ?? 0n
      const gone = posted + (body.released?.[index] ?? 0n)
      posting.remaining -= gone
      this.#expect(posting.remaining >= 0n, `${seq}: more than hold ${target} reserves`)
      const from = this.#account(posting.debit)
      const to = this.#account(posting.credit)
      from.debitsPending -= gone
      to.creditsPending -= gone
      from.debitsPosted += posted
      to.creditsPosted += posted
    }
    hold.ended = body.kept !== true
    const rest = hold.postings.some((posting) => posting.remaining !== 0n)
    this.#expect(!hold.ended || !rest, `${seq}: hold ${target} ends and still reserves`)
    this.#touch(hold.postings.flatMap(({ debit, credit }) => [debit, credit]))
  }

  #remember(id: string, seq: number, amounts: bigint[], hold: boolean): void {
    this.#expect(!this.transactions.has(id), `${seq}: ${id} takes effect twice`)
    this.transactions.set(id, { seq, amounts, hold })
  }

  #assertLimit(id: string, seq: number): void {
    const account = this.#account(id)
    if (account.overdraftLimit === null) return
    const available = account.debitNormal
      ? account.debitsPosted - account.creditsPosted - account.creditsPending
      : account.creditsPosted - account.debitsPosted - account.debitsPending
    const floor = account.minimumBalance - account.overdraftLimit
    this.#expect(available >= floor, `${seq}: ${id} is beyond its limit`)
  }

  #touch(ids: string[]): void {
    for (const id of new Set(ids)) {
      const account = this.#account(id)
      account.version += 1
      const states = this.states.get(id) ?? new Map<number, BalanceView>()
      states.set(account.version, balanceOf(account))
      this.states.set(id, states)
    }
  }

  #account(id: string): AuditAccount {
    const account = this.accounts.get(id)
    if (account === undefined) throw new Error(`the journal has no account ${id}`)
    return account
  }

  #expect(holds: boolean, fault: string): void {
    if (!holds) this.faults.push(fault)
  }
}

export function balanceOf(from: BalanceView): BalanceView {
  const { version, debitsPosted, creditsPosted, debitsPending, creditsPending } = from
  return { version, debitsPosted, creditsPosted, debitsPending, creditsPending }
}

function keyText(bytes: Uint8Array): string {
  return formatKey(keyFromBytes(bytes, 0))
}
