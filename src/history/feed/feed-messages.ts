import type { FeedEventType } from './feed-event.js'
import type { PositionFault } from './feed-position.js'

/** Who wants to hear what, from where. Plain data, as all of this file: it goes between threads. */
export interface ListenRequest {
  tenant: number
  /** UUIDs; absent: of all accounts, and also what concerns none. */
  accounts?: string[] | undefined
  /** Absent: of all types. */
  types?: FeedEventType[] | undefined
  /** A position (feed-position.ts); absent: what happens from now on. */
  after?: string | undefined
}

/** Why a listener does not begin, or cannot go on. */
export interface FeedFault {
  code: PositionFault['code'] | 'position_gone' | 'journal_unavailable' | 'journal_damaged'
  /** Of a position it goes on after its name. */
  message: string
  /** Of `position_gone`: the position after which the journal still has everything. */
  kept?: string | undefined
}

/** To the thread. A listener is asked for text piece by piece: who does not want is not read for. */
export type ToFeed =
  | { listen: number; request: ListenRequest }
  | { want: number }
  | { leave: number }

/** From the thread. */
export type FromFeed =
  | { began: number; position: string }
  /** Whole events as UTF-8, after which the listener is at `position`. */
  | { text: number; bytes: Uint8Array<ArrayBuffer>; position: string; events: number }
  /** Before it has begun, or later: there is nothing more for it. */
  | { failed: number; fault: FeedFault }
  /** Records that the listener furthest behind has before it. */
  | { lag: number }
  | { trouble: string }
