import { invalidField } from './errors.js'

/**
 * A cursor: what was asked for, and the place after which the next page begins. It is opaque to
 * clients, and no secret: whoever makes one up asks for what he could have asked for anyway.
 */
export interface CursorContent<Place> {
  /** Of the route, so that a cursor of one is no cursor of another. */
  route: string
  asked: Record<string, unknown>
  place: Place
}

export function writeCursor<Place>(content: CursorContent<Place>): string {
  const { route, asked, place } = content
  return Buffer.from(JSON.stringify([route, asked, place])).toString('base64url')
}

/** Throws `invalid_request` if it is not one that `route` has given. */
export function readCursor<Place>(
  text: string,
  route: string,
  isPlace: (place: unknown) => place is Place,
): CursorContent<Place> {
  try {
    const content: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (Array.isArray(content)) {
      const [ownRoute, asked, place] = content
      if (ownRoute === route && typeof asked === 'object' && asked !== null && isPlace(place)) {
        return { route, asked, place }
      }
    }
  } catch {
    // As if it were none at all.
  }
  throw invalidField('cursor', 'is not a cursor that this route has given')
}

/** Whether it is an array of whole numbers from 0 to those of `most`, one for each. */
export function isPlaceWithin(most: readonly number[]) {
  return (place: unknown): place is number[] =>
    Array.isArray(place) &&
    place.length === most.length &&
    place.every((value, index) => Number.isSafeInteger(value) && value >= 0 && value <= most[index])
}
