import {
  readBigint,
  readCurrency,
  readInteger,
  writeBigint,
  writeInteger,
} from '../journal/record.js'
import { formatKey } from '../key.js'
import { formatMinor } from '../money.js'
import {
  type AccountClass,
  type AccountStatus,
  type AccountTable,
  accountClasses,
  accountStatuses,
  availableOf,
  balanceOf,
  type Counters,
  isDebitNormal,
} from './accounts.js'

/**
 * The state of an account as it travels between threads, 88 bytes: key, four i64 counters,
 * i64 version, 8 bytes currency, u8 scale, u8 class, u8 status, u8 flags, u32 stream, i64 seq of
 * the last record that touched the account, u64 0.
 */
export const balanceWords = 22

/** The counters are those of one shard's part of a striped account. */
const stripedFlag = 1

/** The state of one account's counters after a record, as the API shows it. */
export interface BalanceView {
  account: string
  currency: string
  scale: number
  accountClass: AccountClass
  status: AccountStatus
  version: number
  /** The counters are one shard's part of a striped account. */
  striped: boolean
  counters: Counters
  /** Last record that touched the account, or seq 0 for one of an earlier generation. */
  stream: number
  seq: number
}

/** Writes the balance entry of an account of that stream's shard at word `at`. */
export function writeBalance(
  accounts: AccountTable,
  stream: number,
  words: Uint32Array,
  at: number,
  row: number,
): void {
  const currency = accounts.currencyOf(row)
  accounts.keys.copyKey(row, words, at)
  writeBigint(words, at + 4, accounts.debitsPosted.get(row))
  writeBigint(words, at + 6, accounts.creditsPosted.get(row))
  writeBigint(words, at + 8, accounts.debitsPending.get(row))
  writeBigint(words, at + 10, accounts.creditsPending.get(row))
  writeInteger(words, at + 12, accounts.version.get(row))
  words[at + 14] = currency.words[0]
  words[at + 15] = currency.words[1]
  words[at + 16] =
    currency.scale |
    (accounts.accountClass.get(row) << 8) |
    (accounts.status.get(row) << 16) |
    ((accounts.isStriped(row) ? stripedFlag : 0) << 24)
  words[at + 17] = stream
  writeInteger(words, at + 18, accounts.touchedSeq.get(row))
  words[at + 20] = 0
  words[at + 21] = 0
}

/** Reads the balance entry at word `at`. */
export function readBalance(words: Uint32Array, at: number): BalanceView {
  const kinds = words[at + 16]
  return {
    account: formatKey({ w0: words[at], w1: words[at + 1], w2: words[at + 2], w3: words[at + 3] }),
    counters: {
      debitsPosted: readBigint(words, at + 4),
      creditsPosted: readBigint(words, at + 6),
      debitsPending: readBigint(words, at + 8),
      creditsPending: readBigint(words, at + 10),
    },
    version: readInteger(words, at + 12),
    currency: readCurrency(words, at + 14),
    scale: kinds & 0xff,
    accountClass: accountClasses[(kinds >>> 8) & 0xff],
    status: accountStatuses[(kinds >>> 16) & 0xff],
    striped: ((kinds >>> 24) & stripedFlag) !== 0,
    stream: words[at + 17],
    seq: readInteger(words, at + 18),
  }
}

/** The counters of a balance as decimal strings, with balance and available balance. */
export function formatBalance(view: BalanceView): {
  debitsPosted: string
  creditsPosted: string
  debitsPending: string
  creditsPending: string
  balance: string
  available: string
} {
  const { counters, scale } = view
  const debitNormal = isDebitNormal(accountClasses.indexOf(view.accountClass))
  return {
    debitsPosted: formatMinor(counters.debitsPosted, scale),
    creditsPosted: formatMinor(counters.creditsPosted, scale),
    debitsPending: formatMinor(counters.debitsPending, scale),
    creditsPending: formatMinor(counters.creditsPending, scale),
    balance: formatMinor(balanceOf(counters, debitNormal), scale),
    available: formatMinor(availableOf(counters, debitNormal), scale),
  }
}
