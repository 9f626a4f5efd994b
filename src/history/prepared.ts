import type { QueryConfig } from 'pg'

const names = new Map<string, string>()

/**
 * A statement that each session parses once, under a name of its text. For texts of which there are
 * few: a session keeps them all.
 */
export function prepared(text: string, values: unknown[]): QueryConfig {
  let name = names.get(text)
  if (name === undefined) {
    name = `history-${names.size + 1}`
    names.set(text, name)
  }
  return { name, text, values }
}
