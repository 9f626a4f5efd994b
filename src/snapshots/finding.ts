/** What a check found wrong, at the first bad position of a stream. */
export interface Finding {
  stream: number
  /** The first position that is known to be bad; the record at fault is none before it. */
  seq: number
  /** The record at fault is none after it, as far as can be told. */
  lastSeq: number
  code: FindingCode
  /** In words. */
  what: string
}

export type FindingCode =
  /** Bytes are not what was written. */
  | 'changed'
  /** Records between others are gone. */
  | 'missing'
  /** Something is there that was never written. */
  | 'inserted'
  /** The end of the stream is gone. */
  | 'cut_off'
  /** A record cannot be decoded, or contradicts those before it. */
  | 'unreadable'
  /** An applied record and the record that it follows do not agree. */
  | 'message'
  /** The journal is not the one whose heads were written down. */
  | 'anchor'
