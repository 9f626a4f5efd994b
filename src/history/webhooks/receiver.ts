import type { WebhookEvent } from './webhook-event.js'

/** `paused` by its owner, `disabled` by us, for a reason that it says. */
export const receiverStates = ['active', 'paused', 'disabled'] as const
export type ReceiverState = (typeof receiverStates)[number]

/** It answered 410, or has as many dead letters as are kept. */
export const disabledReasons = ['gone', 'too_many_dead_letters'] as const
export type DisabledReason = (typeof disabledReasons)[number]

/** Somebody who wants to be told of events. */
export interface Receiver {
  /** UUID. */
  id: string
  tenant: number
  url: string
  description: string | undefined
  /** Types of the events that it wants; undefined: all. */
  types: readonly string[] | undefined
  /** UUIDs of accounts; it wants events of any of them. Undefined: of all. */
  accounts: readonly string[] | undefined
  /** Events in one request. */
  batchMax: number
  state: ReceiverState
  reason: DisabledReason | undefined
  /** Of its secret; see webhook-signature.ts. */
  generation: number
  /** When that generation began; undefined of the first. Milliseconds since 1970, as all times. */
  rotatedAtMs: number | undefined
  createdAtMs: number
  changedAtMs: number
}

/** Whether the event is to be sent to it. That it has missed something it is always told. */
export function wants(receiver: Receiver, event: WebhookEvent): boolean {
  if (event.tenant !== receiver.tenant) return false
  if (event.type === 'feed.gap') return true
  const { types, accounts } = receiver
  if (types !== undefined && !types.includes(event.type)) return false
  return accounts === undefined || event.accounts.some((account) => accounts.includes(account))
}

export const receiverColumns = `id, tenant, url, description, types, accounts, batch_max, state, reason,
  generation, rotated_at, created_at, changed_at`

export interface ReceiverRow {
  id: string
  tenant: string
  url: string
  description: string | null
  types: string[] | null
  accounts: string[] | null
  batch_max: number
  state: ReceiverState
  reason: DisabledReason | null
  generation: number
  rotated_at: Date | null
  created_at: Date
  changed_at: Date
}

export function receiverFrom(row: ReceiverRow): Receiver {
  const { id, url, state, generation } = row
  return {
    ...{ id, url, state, generation },
    tenant: Number(row.tenant),
    description: row.description ?? undefined,
    types: row.types ?? undefined,
    accounts: row.accounts ?? undefined,
    batchMax: row.batch_max,
    reason: row.reason ?? undefined,
    rotatedAtMs: row.rotated_at?.getTime(),
    createdAtMs: row.created_at.getTime(),
    changedAtMs: row.changed_at.getTime(),
  }
}
