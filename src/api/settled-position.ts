import { CommandKind, type RequestContext, writeRead } from '../actors/command.js'
import { type Router, readUnanswered } from '../actors/router.js'
import { type BookCut, covers, readHeads } from '../history/book-cut.js'
import type { Positions } from '../history/history-pool.js'
import type { BookPosition } from '../journal/book-position.js'
import { type ApiParts, servingPartsOf } from './context.js'
import { ApiError, replyOf } from './errors.js'
import { readHistory } from './history-page.js'

/** Until what a position has begun is done everywhere; then the next look. */
const settleMsMax = 5000
const pollMs = 5

/**
 * Finds out how far the read models must be before they hold all that followed from a position: what
 * its transactions asked of other shards. It remembers the newest position that it knows this of,
 * and asks nobody about those before it.
 */
export class SettledPositions {
  #newest: { position: BookPosition; needed: Positions } | undefined

  /** Rejects with `position_not_reached` if a shard does not come that far in time. */
  async neededFor(
    parts: ApiParts,
    context: RequestContext,
    { position, closed }: BookCut,
  ): Promise<Positions> {
    // Nothing is open any more when a generation ends.
    if (closed) return headsOf(parts, position)
    if (this.#newest !== undefined && covers(this.#newest.position, position)) {
      return this.#newest.needed
    }
    const { clock } = parts
    const deadline = clock.monotonic() + settleMsMax
    const { router } = servingPartsOf(parts)
    for (const [stream, seq] of position) {
      while (!(await isSettled(router, context, { stream, seq }))) {
        if (clock.monotonic() >= deadline) {
          throw new ApiError(
            'position_not_reached',
            `what record ${stream}-${seq} and those before it asked for is not done everywhere yet`,
          )
        }
        await new Promise((resolve) => setTimeout(resolve, pollMs))
      }
    }
    return await headsOf(parts, position)
  }

  /** The read models have been seen to be there. */
  note(position: BookPosition, needed: Positions): void {
    if (this.#newest === undefined || covers(position, this.#newest.position)) {
      this.#newest = { position, needed }
    }
  }
}

/** Where its streams are now. */
async function headsOf(parts: ApiParts, position: BookPosition): Promise<Positions> {
  const heads = await readHistory(parts, undefined, readHeads)
  return new Map(heads.filter(({ id }) => position.has(id)).map(({ id, head }) => [id, head]))
}

/** Whether all that the records of a stream up to `seq` concern have applied them, durably. */
async function isSettled(
  router: Router,
  context: RequestContext,
  { stream, seq }: { stream: number; seq: number },
): Promise<boolean> {
  const shard = router.streams.indexOf(stream)
  const outcome = await router.submit(shard, 1, (frame, number) => {
    writeRead(frame, context, number, {
      ...{ kind: CommandKind.readPosition, id: context.correlation, minSeq: seq },
    })
  })
  try {
    return replyOf(outcome.kind === 'unanswered' ? readUnanswered : outcome).kind === 'reached'
  } catch (error) {
    if (error instanceof ApiError && error.code === 'position_not_reached') return false
    throw error
  }
}
