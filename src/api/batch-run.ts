import { type RequestContext, writeBatchHead, writeTransaction } from '../actors/command.js'
import type { Reply } from '../actors/reply.js'
import type { Outcome, Router } from '../actors/router.js'
import {
  mergeItems,
  mergePositions,
  refusedItems,
  type SubBatchItems,
  splitAtomic,
  splitOrdered,
  splitUnordered,
  type Wave,
} from './batch-split.js'
import type { BatchInput } from './binary-batch.js'
import { type Asked, outcomeUnknown, refusalError, replyOf } from './errors.js'

/** What came of a batch: a result of 16 bytes for each item, in the order of the request. */
export interface BatchOutcome {
  items: Buffer
  /** The last record of each stream that the results rest on. */
  positions: { stream: number; seq: number }[]
}

/**
 * Carries out a batch: splits it over the shards, sends wave after wave, and puts the results
 * together. Where some sub-batches of the last wave were carried out and others refused whole, these
 * are refused item by item. Throws if nothing was carried out, or if an outcome is not known, which
 * it is not of what an ordered batch did not come to send; then nothing more is sent.
 */
export async function runBatch(
  router: Router,
  context: RequestContext,
  batch: BatchInput,
  asked: Asked,
): Promise<BatchOutcome> {
  const { transactions } = batch
  const waves = wavesOf(router, context.tenant, batch)
  const done: SubBatchItems[] = []
  const positions: BatchOutcome['positions'] = []
  for (const [number, wave] of waves.entries()) {
    const outcomes = await submitWave(router, context, wave, batch)
    const { replies, refused } = sorted(wave, outcomes, asked)
    for (const { reply, indexes } of replies) {
      done.push({ indexes, items: reply.items })
      positions.push(reply)
    }
    if (refused.length === 0) continue
    const isLast = number === waves.length - 1
    const isOverloaded = refused[0].outcome.kind === 'overloaded'
    // What was not sent may have taken effect at an attempt before this one: it is not refused.
    if (isOverloaded ? number > 0 : !isLast) throw outcomeUnknown(asked)
    // Nothing at all was carried out: an answer to the whole request says it better.
    if (done.length === 0) replyOf(refused[0].outcome, asked)
    for (const { indexes, outcome } of refused) done.push(refusedTogether(indexes, outcome))
    break
  }
  return { items: mergeItems(transactions.length, done), positions: mergePositions(positions) }
}

function wavesOf(router: Router, tenant: number, batch: BatchInput): Wave[] {
  const split = batch.atomic ? splitAtomic : batch.ordered ? splitOrdered : splitUnordered
  return split(batch.transactions, {
    shards: router.streams.length,
    shardOf: (slot) => router.shardOf(slot),
    isStriped: (account) => router.striped.has(tenant, account),
  })
}

function submitWave(
  router: Router,
  context: RequestContext,
  wave: Wave,
  { transactions, atomic, ordered }: BatchInput,
): Promise<Outcome[]> {
  return router.submitAll(
    wave.map(({ shard, indexes }) => ({
      shard,
      commands: indexes.length,
      write(frame, number) {
        writeBatchHead(frame, context, number, { count: indexes.length, atomic, ordered })
        for (const index of indexes) writeTransaction(frame, context, number, transactions[index])
      },
    })),
  )
}

type BatchReply = Extract<Reply, { kind: 'batch' }>

/** What a shard refused as a whole, or the router did not even send. */
type WholeRefusal = Extract<Outcome, { kind: 'refused' | 'overloaded' }>

interface SortedWave {
  replies: { indexes: number[]; reply: BatchReply }[]
  refused: { indexes: number[]; outcome: WholeRefusal }[]
}

/** What came of each sub-batch of a wave; throws if an outcome is not known. */
function sorted(wave: Wave, outcomes: readonly Outcome[], asked: Asked): SortedWave {
  const result: SortedWave = { replies: [], refused: [] }
  for (const [place, outcome] of outcomes.entries()) {
    const { indexes } = wave[place]
    if (outcome.kind === 'refused' || outcome.kind === 'overloaded') {
      result.refused.push({ indexes, outcome })
    } else {
      result.replies.push({ indexes, reply: batchReply(replyOf(outcome, asked)) })
    }
  }
  return result
}

/** The items of a sub-batch that its shard refused, beside others that were carried out. */
function refusedTogether(indexes: readonly number[], outcome: WholeRefusal): SubBatchItems {
  if (outcome.kind === 'overloaded') throw new Error('the router sent a part of a wave')
  return { indexes, items: refusedItems(indexes.length, outcome.refusal) }
}

function batchReply(reply: Reply): BatchReply {
  if (reply.kind !== 'batch') throw new Error(`a shard answered ${reply.kind} for a batch`)
  if (reply.atomicRefusal !== 0) {
    const { index } = reply
    throw refusalError(reply.atomicRefusal, { index, field: `transactions/${index}` })
  }
  return reply
}
