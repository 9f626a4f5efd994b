import { readFile } from 'node:fs/promises'
import type { BookRows } from '../journal/book-rows.js'

/**
 * Heads of streams, kept where who can change the journal cannot: against them a journal whose end
 * has been cut off, or which has been written anew from somewhere on, is found.
 */
export interface Anchor {
  bookId: string
  /** ISO 8601. */
  writtenAt: string
  heads: AnchoredHead[]
}

export interface AnchoredHead {
  stream: number
  seq: number
  /** Of the chunk that ends with `seq`, in hex. */
  digest: string
}

/** The heads of a book as its rows say them. */
export function anchorOf(book: BookRows, now: Date): Anchor {
  return {
    bookId: book.id,
    writtenAt: now.toISOString(),
    heads: book.streams.map(({ id, head, digest }) => ({
      stream: id,
      seq: head,
      digest: digest.toString('hex'),
    })),
  }
}

/** Reads a file that {@link anchorOf} was written to; throws if it is none. */
export async function readAnchor(path: string): Promise<Anchor> {
  const anchor = JSON.parse(await readFile(path, 'utf8')) as Partial<Anchor> | null
  const isAnchor =
    typeof anchor?.bookId === 'string' &&
    Array.isArray(anchor.heads) &&
    anchor.heads.every(
      ({ stream, seq, digest }) =>
        Number.isInteger(stream) && Number.isInteger(seq) && typeof digest === 'string',
    )
  if (!isAnchor) throw new Error(`${path} holds no heads that daybook has written`)
  return anchor as Anchor
}
