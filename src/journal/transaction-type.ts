import { RecordKind } from './record.js'

/** What a transaction is to those who read it. */
export type TransactionType = 'transaction' | 'hold' | 'post' | 'void' | 'reversal'

/** What a record of that kind made; `hold` says whether it reserves first. */
export function transactionType(kind: RecordKind, hold: boolean): TransactionType {
  switch (kind) {
    case RecordKind.posting:
      return 'transaction'
    case RecordKind.transaction:
      return hold ? 'hold' : 'transaction'
    case RecordKind.holdPosted:
      return 'post'
    case RecordKind.holdVoided:
      return 'void'
    case RecordKind.reversal:
      return 'reversal'
    default:
      throw new RangeError(`a record of kind ${kind} is not a transaction`)
  }
}
