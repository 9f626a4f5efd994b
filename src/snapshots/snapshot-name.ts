import { isUuid } from '../key.js'
import type { SnapshotName } from './store.js'

/**
 * The name with both ids in lower case, as they stand in paths and keys. Throws an error of code
 * `invalid_snapshot_name` unless the book is named by a UUID and the snapshot by a v7 UUID, so that
 * nothing else ever becomes part of a path, a key or a listing.
 */
export function checkedName(name: SnapshotName): SnapshotName {
  const id = name.id.toLowerCase()
  if (!isSnapshotId(id)) throw new SnapshotNameError('the id of a snapshot must be a v7 UUID')
  return { bookId: checkedBookId(name.bookId), id }
}

/** The id of a book in lower case; throws `invalid_snapshot_name` unless it is a UUID. */
export function checkedBookId(bookId: string): string {
  if (!isUuid(bookId)) throw new SnapshotNameError('the id of a book must be a UUID')
  return bookId.toLowerCase()
}

/** Whether `text` is a v7 UUID in lower case: what is found under another name is not ours. */
export function isSnapshotId(text: string): boolean {
  return isUuid(text) && text === text.toLowerCase() && text[14] === '7'
}

/** When a snapshot was begun, by its v7 id, in milliseconds since 1970. */
export function snapshotTimeMs(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}

/** `000000.block` and so on; throws `invalid_snapshot_name` beyond a million blocks. */
export function blockName(number: number): string {
  if (!Number.isInteger(number) || number < 0 || number > 999_999) {
    throw new SnapshotNameError('the number of a block must be from 0 to 999,999')
  }
  return `${String(number).padStart(6, '0')}.block`
}

class SnapshotNameError extends Error {
  readonly code = 'invalid_snapshot_name'
}
