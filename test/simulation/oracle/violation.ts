/** A promise that was broken: what the simulation looks for. */
export class Violation extends Error {
  /** Number of the promise in design §1; 0 for what has to hold besides. */
  readonly promise: number

  constructor(promise: number, message: string) {
    super(message)
    this.promise = promise
  }
}

export function expect(holds: boolean, promise: number, message: () => string): asserts holds {
  if (!holds) throw new Violation(promise, message())
}
