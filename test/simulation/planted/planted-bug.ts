/**
 * A fault that somebody might write into the server, as a change of its compiled text. A text that
 * is not there exactly once means that the server has changed, and the bug has to be planted anew.
 */
export interface PlantedBug {
  name: string
  /** What goes wrong, in a sentence. */
  what: string
  patches: Patch[]
}

export interface Patch {
  /** Below dist/. */
  file: string
  from: string
  to: string
}

/** A bug that is a single change of one file. */
export function bug(
  name: string,
  what: string,
  file: string,
  from: string,
  to: string,
): PlantedBug {
  return { name, what, patches: [{ file, from, to }] }
}
