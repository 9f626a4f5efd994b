import { balanceWords } from '../balance-entry.js'
import type { ReplyWriter } from '../reply.js'
import type { Decision } from '../transaction-decision.js'

/**
 * Balance entries (reply.ts) of the decided accounts in order. Of the accounts of other shards
 * there is the key alone, until {@link fillBalances} puts in what they have sent.
 */
export function balancesOf(decision: Decision, replies: ReplyWriter): Uint32Array {
  const balances = new Uint32Array(decision.count * 2 * balanceWords)
  let end = 0
  for (let index = 0; index < decision.count; index++) {
    const { debit, credit, keys, keysAt } = decision.postings[index]
    for (const [row, word] of [
      [debit, keysAt],
      [credit, keysAt + 4],
    ]) {
      if (findBalance(balances, end, keys, word) >= 0) continue
      if (row >= 0) replies.balance(balances, end, row)
      else for (let part = 0; part < 4; part++) balances[end + part] = keys[word + part]
      end += balanceWords
    }
  }
  return balances.subarray(0, end)
}

/** Puts the balances that another shard sent into the places that were left for them. */
export function fillBalances(balances: Uint32Array, sent: Uint32Array): void {
  for (let at = 0; at < sent.length; at += balanceWords) {
    const place = findBalance(balances, balances.length, sent, at)
    if (place >= 0) balances.set(sent.subarray(at, at + balanceWords), place)
  }
}

function findBalance(balances: Uint32Array, end: number, keys: Uint32Array, word: number): number {
  for (let at = 0; at < end; at += balanceWords) {
    let part = 0
    while (part < 4 && balances[at + part] === keys[word + part]) part += 1
    if (part === 4) return at
  }
  return -1
}
