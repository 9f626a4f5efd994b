import { CommandKind, type RequestContext, writeRead } from '../actors/command.js'
import { type Router, readUnanswered } from '../actors/router.js'
import type { Key } from '../key.js'
import { invalidField, replyOf } from './errors.js'

/** A position as the API writes it: stream and seq, such as `1-17`. */
export function formatPosition(stream: number, seq: number): string {
  return `${stream}-${seq}`
}

/**
 * The seq that a read of `id` at `shard` must ask for, so that it sees everything up to `position`.
 * Where another shard's stream is meant, that shard is asked first whether all whom the position
 * concerns have come that far; throws if they have not.
 */
export async function minSeqOf(
  position: string | undefined,
  router: Router,
  context: RequestContext,
  read: { id: Key; shard: number },
): Promise<number> {
  if (position === undefined) return 0
  const [stream, seq] = position.split('-').map(Number)
  const asked = router.streams.indexOf(stream)
  if (asked === read.shard) return seq
  if (asked < 0) {
    // Streams are numbered from 1 on; those of older generations were read to their end.
    if (stream > 0 && stream < router.streams[0]) return 0
    throw invalidField('minPosition', `is not of a stream of this book: ${stream}`)
  }
  const outcome = await router.submit(asked, 1, (frame, number) => {
    const { id } = read
    writeRead(frame, context, number, { kind: CommandKind.readPosition, id, minSeq: seq })
  })
  const reply = replyOf(outcome.kind === 'unanswered' ? readUnanswered : outcome)
  if (reply.kind !== 'reached') throw new Error(`a shard answered ${reply.kind} for a position`)
  return 0
}
