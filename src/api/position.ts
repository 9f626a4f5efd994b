import { ApiError } from './errors.js'

/** A position as the API writes it: stream and seq, such as `1-17`. */
export function formatPosition(stream: number, seq: number): string {
  return `${stream}-${seq}`
}

/** The seq that a read of a shard with `stream` must have reached; 0 if it asks for none. */
export function minSeqOf(position: string | undefined, stream: number): number {
  if (position === undefined) return 0
  const [askedStream, seq] = position.split('-').map(Number)
  if (askedStream !== stream) {
    throw new ApiError(
      'invalid_request',
      `minPosition is not of stream ${stream}, which owns this key`,
      {
        field: 'minPosition',
      },
    )
  }
  return seq
}
