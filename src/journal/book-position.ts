/** A seq for each stream of one generation, by stream. */
export type BookPosition = ReadonlyMap<number, number>

const partPattern = /^(\d{1,9})-(\d{1,15})$/

/** Reads a position such as `1-500,2-300`; undefined if `text` is none. */
export function parseBookPosition(text: string): BookPosition | undefined {
  const position = new Map<number, number>()
  for (const part of text.split(',')) {
    const match = partPattern.exec(part.trim())
    if (match === null || position.has(Number(match[1]))) return undefined
    position.set(Number(match[1]), Number(match[2]))
  }
  return position
}

/** Writes a position as {@link parseBookPosition} reads it, in order of stream. */
export function formatBookPosition(position: BookPosition): string {
  return [...position]
    .sort(([one], [other]) => one - other)
    .map(([stream, seq]) => `${stream}-${seq}`)
    .join(',')
}
