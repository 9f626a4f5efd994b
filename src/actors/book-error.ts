/** A record does not fit the state it is applied to. Nothing can go on from here. */
export class BookError extends Error {
  readonly code = 'book_inconsistent'
}
