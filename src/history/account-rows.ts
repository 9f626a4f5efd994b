import {
  type AccountChangedBody,
  type AccountCreatedBody,
  type RecordView,
  Word,
} from '../journal/record.js'
import type { Key } from '../key.js'
import { CopyTable } from './copy-table.js'

export const accountColumns =
  'tenant, id, stream, seq, created_at, changed_at, name, currency, scale, class, type, owner, number, striped, status, overdraft_limit, minimum_balance, metadata'
const accountColumnCount = 18

/** A change of an account that an earlier record created. */
export interface AccountChange {
  tenant: number
  id: Key
  timeMs: number
  change: AccountChangedBody
}

/** Accounts, and changes of others. */
export class AccountRows {
  readonly rows = new CopyTable(accountColumnCount)
  readonly changes: AccountChange[] = []

  clear(): void {
    this.rows.clear()
    this.changes.length = 0
  }

  add(record: RecordView, body: AccountCreatedBody, at: { stream: number; seq: number }): void {
    const { rows } = this
    rows.beginRow()
    rows.int(record.tenant)
    rows.uuid(record.words, record.start + Word.id)
    rows.int(at.stream)
    rows.bigint(at.seq)
    rows.timestamp(record.time)
    rows.timestamp(record.time)
    rows.text(body.name)
    rows.text(body.currency)
    rows.smallint(body.scale)
    rows.text(body.class)
    rows.text(body.type)
    rows.text(body.owner)
    rows.text(body.number)
    rows.boolean(body.striped === true)
    rows.text('active')
    if (body.overdraftLimit === null) rows.null()
    else rows.minor(BigInt(body.overdraftLimit))
    rows.minor(BigInt(body.minimumBalance))
    rows.json(body.metadata)
  }
}
