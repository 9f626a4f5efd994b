/** What the example posts and what it must come to, whether read from the bank's files or made. */
export interface Book {
  /** Shown to the reader, e.g. `the Czech bank's 1993`. */
  readonly title: string
  /** Put before account numbers, so that several books can live in one Daybook. */
  readonly prefix: string
  readonly currency: string
  /** In booking order. */
  readonly movements: readonly Movement[]
  /** By account number; added up apart from the code that posts. */
  readonly expected: ReadonlyMap<string, ExpectedTotals>
}

/** One line of the bank's book. Absent text is an empty string, as in the file. */
export interface Movement {
  readonly id: string
  readonly account: string
  /** `YYYY-MM-DD` */
  readonly date: string
  /** Seen from the customer: a credit raises the balance. */
  readonly side: 'credit' | 'debit'
  readonly operation: string
  /** Decimal, two places. */
  readonly amount: string
  /** What the bank recorded after the movement; empty in a made book. Kept, never relied on. */
  readonly balanceAfter: string
  readonly purpose: string
  readonly partnerBank: string
  readonly partnerAccount: string
}

/** Minor units of the book's currency. */
export interface ExpectedTotals {
  readonly movements: number
  readonly credits: bigint
  readonly debits: bigint
  readonly balance: bigint
}
