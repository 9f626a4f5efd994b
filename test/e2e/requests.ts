import { randomUUID } from 'node:crypto'
import {
  formatKey,
  type Key,
  keyOf,
  keyOfFollowUp,
  newKey,
  slotOf,
  withSlot,
} from '../../src/key.js'
import { type Entry, type Movement, type Request, toAmount } from './client-log.js'

const tenant = 1

/** A request for one transaction, under a new id unless one is given. */
export function single(
  movements: Movement[],
  attributes: Record<string, unknown> & { id?: string } = {},
): Request {
  const { id = newId(movements[0]) } = attributes
  const postings = movements.map((movement) => ({ ...movement, amount: toAmount(movement.amount) }))
  const body = { id, ...(postings.length === 1 ? postings[0] : { postings }), ...attributes }
  const entry: Entry = { key: id, kind: 'transaction', movements, answers: [] }
  return { path: '/v1/transactions', body, entries: [entry], isBatch: false, isAtomic: false }
}

/** A request for a hold under a new id. */
export function hold(
  movements: Movement | Movement[],
  attributes: Record<string, unknown> = {},
): Request {
  const request = single([movements].flat(), { pending: true, ...attributes })
  request.entries[0].kind = 'hold'
  return request
}

/** The post or void of a hold under a new id; `movements` are what is posted. */
export function followUp(
  kind: 'post' | 'void',
  target: Entry,
  movements: Movement[],
  attributes: object,
): Request {
  const id = randomUUID()
  const entry: Entry = {
    key: formatKey(keyOfFollowUp(tenant, keyOfText(target.key), keyOfText(id))),
    kind,
    target: target.key,
    movements,
    answers: [],
  }
  const path = `/v1/transactions/${target.key}/${kind}`
  return { path, body: { id, ...attributes }, entries: [entry], isBatch: false, isAtomic: false }
}

/** Single transactions in one request. */
export function batch(items: Request[], order: 'none' | 'ordered' | 'atomic'): Request {
  return {
    path: '/v1/transactions/batch',
    body: {
      transactions: items.map(({ body }) => body),
      ...(order === 'none' ? {} : { [order]: true }),
    },
    entries: items.flatMap(({ entries }) => entries),
    isBatch: true,
    isAtomic: order === 'atomic',
  }
}

/** An account's id in that slot, so that neighbours are in different shards; some v4, some v7. */
export function idInSlot(slot: number): string {
  return formatKey(slot % 2 === 0 ? withSlot(keyOfText(randomUUID()), slot) : newKey(slot))
}

/**
 * A transaction's id: in the slot of its debit account as the server makes them, so that it is
 * there at home, or anywhere, so that its home may own none of its accounts.
 */
function newId({ debit }: Movement): string {
  const dice = Math.random()
  if (dice < 0.4) return formatKey(newKey(slotOf(keyOfText(debit))))
  return dice < 0.6 ? formatKey(newKey()) : randomUUID()
}

function keyOfText(uuid: string): Key {
  return keyOf(tenant, uuid) as Key
}
