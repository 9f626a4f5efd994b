/**
 * Ids that are being decided on together with other shards, and who waits for the outcome: a retry
 * joins the first attempt, and whoever uses the id for something else is told once it is decided.
 */
export class UnderWay {
  /** By a hash of the id; entries of one hash are a list. */
  readonly #entries = new Map<number, Entry[]>()
  /** Commands that wait for an id, and items of atomic batches that do. */
  waiting = 0

  get isEmpty(): boolean {
    return this.#entries.size === 0
  }

  has(tenant: number, words: Uint32Array, at: number): boolean {
    return this.#entries.size > 0 && this.#find(tenant, words, at) !== undefined
  }

  begin(tenant: number, words: Uint32Array, at: number): void {
    const hash = hashOf(words, at)
    const entry: Entry = {
      tenant,
      key: words.slice(at, at + 4),
      waiting: [],
    }
    const entries = this.#entries.get(hash)
    if (entries === undefined) this.#entries.set(hash, [entry])
    else entries.push(entry)
  }

  /** Calls `task`, of so many items, when the id is no longer under way; it must be. */
  wait(tenant: number, words: Uint32Array, at: number, task: () => void, items = 1): void {
    this.#find(tenant, words, at)?.waiting.push({ task, items })
    this.waiting += items
  }

  /** The id is decided; whoever waited goes on, the first to come first. */
  end(tenant: number, words: Uint32Array, at: number): void {
    const hash = hashOf(words, at)
    const entries = this.#entries.get(hash)
    const entry = this.#find(tenant, words, at)
    if (entries === undefined || entry === undefined) return
    if (entries.length === 1) this.#entries.delete(hash)
    else entries.splice(entries.indexOf(entry), 1)
    for (const { task, items } of entry.waiting) {
      this.waiting -= items
      task()
    }
  }

  #find(tenant: number, words: Uint32Array, at: number): Entry | undefined {
    return this.#entries
      .get(hashOf(words, at))
      ?.find(
        ({ tenant: own, key }) =>
          own === tenant &&
          key[0] === words[at] &&
          key[1] === words[at + 1] &&
          key[2] === words[at + 2] &&
          key[3] === words[at + 3],
      )
  }
}

interface Entry {
  tenant: number
  key: Uint32Array
  waiting: { task: () => void; items: number }[]
}

function hashOf(words: Uint32Array, at: number): number {
  return (words[at] ^ Math.imul(words[at + 1], 0x9e3779b1) ^ words[at + 2] ^ words[at + 3]) | 0
}
