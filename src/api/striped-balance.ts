import type { BalanceView } from '../actors/balance-entry.js'
import { CommandKind, type RequestContext, writeRead } from '../actors/command.js'
import { refusalNumber } from '../actors/refusals.js'
import type { Reply } from '../actors/reply.js'
import { type Outcome, type Router, readUnanswered } from '../actors/router.js'
import { sumOfCounters } from '../actors/striped-parts.js'
import type { Key } from '../key.js'
import { ApiError, replyOf } from './errors.js'

export type AccountReply = Extract<Reply, { kind: 'account' }>

/** The reply to a command about an account; throws what stands for any other outcome. */
export function accountReply(reply: Reply): AccountReply {
  if (reply.kind !== 'account') throw new Error(`a shard answered ${reply.kind} for an account`)
  return reply
}

/**
 * The balance of an account whose owner has answered. Of a striped account that is one part: the
 * others are asked for now, so that the sum holds all that was acknowledged before.
 */
export async function wholeBalance(
  router: Router,
  context: RequestContext,
  id: Key,
  owner: AccountReply,
): Promise<BalanceView> {
  if (!owner.balance.striped || router.streams.length === 1) return owner.balance
  const others = router.streams
    .map((_, shard) => shard)
    .filter((shard) => router.streamOf(shard) !== owner.stream)
  const outcomes = await router.submitAll(
    others.map((shard) => ({
      shard,
      commands: 1,
      write: (frame, number) =>
        writeRead(frame, context, number, { kind: CommandKind.readAccount, id, minSeq: 0 }),
    })),
  )
  const parts = [owner, ...outcomes.map(partOf).filter((part) => part !== undefined)]
  if (!parts.every((part) => router.isValid(part))) {
    throw new ApiError('journal_unavailable', 'a part that was read is too old to be shown')
  }
  return { ...owner.balance, counters: sumOfCounters(parts.map((part) => part.balance.counters)) }
}

/** One shard's part; undefined if the creation has not come there, so that the part is empty. */
function partOf(outcome: Outcome): AccountReply | undefined {
  if (outcome.kind === 'refused' && outcome.refusal === refusalNumber.account_not_found) {
    return undefined
  }
  return accountReply(replyOf(outcome.kind === 'unanswered' ? readUnanswered : outcome))
}
