/** Wakes whoever waits for it. */
export class Bell {
  readonly #waiting = new Set<() => void>()

  /** Resolves at the next ring, or when the signal aborts. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const wake = () => {
        signal.removeEventListener('abort', wake)
        this.#waiting.delete(wake)
        resolve()
      }
      signal.addEventListener('abort', wake, { once: true })
      this.#waiting.add(wake)
    })
  }

  ring(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}
