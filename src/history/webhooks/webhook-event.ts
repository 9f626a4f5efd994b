import type { FeedEvent } from '../feed/feed-event.js'

/**
 * What a receiver is sent: the events of the feed, and two of our own. Both are told apart by their
 * type, as all are; a receiver passes over a type that it does not know, and answers 2xx.
 */
export type WebhookEvent = FeedEvent | GapEvent | TestEvent

/** The journal no longer has the events of a stream between two positions: they were archived. */
export interface GapEvent extends OwnEvent {
  type: 'feed.gap'
  /** `stream-seq`: what was delivered last, and what comes next. */
  data: { after: string; first: string }
}

/** Says nothing. It is sent when somebody asks for it, and to find out whether a receiver is back. */
export interface TestEvent extends OwnEvent {
  type: 'webhook.test'
  data: Record<string, never>
}

interface OwnEvent extends Pick<FeedEvent, 'id' | 'tenant' | 'position' | 'time' | 'accounts'> {
  version: 1
  correlationId: string
}

const noCorrelation = '00000000-0000-0000-0000-000000000000'

export function gapEvent(
  tenant: number,
  { stream, seq, kept }: { stream: number; seq: number; kept: number },
  nowMs: number,
): GapEvent {
  return {
    id: `gap-${stream}-${seq}`,
    type: 'feed.gap',
    ...{ version: 1, tenant },
    position: `${stream}-${kept}`,
    time: new Date(nowMs).toISOString(),
    correlationId: noCorrelation,
    accounts: [],
    data: { after: `${stream}-${seq}`, first: `${stream}-${kept + 1}` },
  }
}

export function testEvent(tenant: number, id: string, nowMs: number): TestEvent {
  return {
    id: `test-${id}`,
    type: 'webhook.test',
    ...{ version: 1, tenant },
    position: '0-0',
    time: new Date(nowMs).toISOString(),
    correlationId: noCorrelation,
    accounts: [],
    data: {},
  }
}

/** Seq of an event's position. */
export function seqOf({ position }: Pick<WebhookEvent, 'position'>): number {
  return Number(position.slice(position.indexOf('-') + 1))
}
