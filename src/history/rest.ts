/** A pause that somebody else can end. */
export class Rest {
  #end: (() => void) | undefined

  /** Resolves after `ms`, or when it is interrupted. */
  take(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.interrupt(), ms)
      this.#end = () => {
        clearTimeout(timer)
        this.#end = undefined
        resolve()
      }
    })
  }

  /** Ends the pause that is taken now; does nothing if there is none. */
  interrupt(): void {
    this.#end?.()
  }
}
