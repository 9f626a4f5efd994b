/**
 * Time and order of everything in a simulated world. Nothing happens but events, one at a time, each
 * at its moment; between two of them every promise that can go on has gone on. So a world is a
 * function of its seed.
 */
export class Scheduler {
  /** Milliseconds since the world began; the same for everybody in it. */
  nowMs = 0
  /** Called after each event and what came of it at once. */
  onStep: () => void = () => undefined
  readonly #events = new EventHeap()
  #order = 0
  /** Events carried out. */
  steps = 0

  after(delayMs: number, task: () => void): Scheduled {
    return this.at(this.nowMs + delayMs, task)
  }

  /** Calls `task` at that moment. Of two at the same moment, the one asked for first goes first. */
  at(atMs: number, task: () => void): Scheduled {
    const event = { atMs: Math.max(this.nowMs, atMs), order: this.#order, task }
    this.#order += 1
    this.#events.add(event)
    return {
      cancel: () => {
        event.task = nothing
      },
    }
  }

  /** Carries out events until `isDone` holds, none is left, or the time is up. */
  async run(isDone: () => boolean, untilMs: number): Promise<'done' | 'idle' | 'time is up'> {
    for (;;) {
      await settled()
      this.onStep()
      if (isDone()) return 'done'
      const event = this.#events.first
      if (event === undefined) return 'idle'
      if (event.atMs > untilMs) {
        this.nowMs = untilMs
        return 'time is up'
      }
      this.#events.removeFirst()
      this.nowMs = event.atMs
      this.steps += 1
      event.task()
    }
  }
}

export interface Scheduled {
  cancel(): void
}

/**
 * A thread of a simulated process: its events happen while it lives, and wait while it is frozen.
 */
export class Thread {
  readonly name: string
  /** Called with what an event of this thread throws. */
  onError: (error: Error) => void
  readonly #scheduler: Scheduler
  #alive = true
  #frozen = false
  /** Events that have come due while frozen. */
  readonly #backlog: (() => void)[] = []

  constructor(scheduler: Scheduler, name: string, onError: (error: Error) => void) {
    this.#scheduler = scheduler
    this.name = name
    this.onError = onError
  }

  get isAlive(): boolean {
    return this.#alive
  }

  get isFrozen(): boolean {
    return this.#frozen
  }

  after(delayMs: number, task: () => void): Scheduled {
    return this.at(this.#scheduler.nowMs + delayMs, task)
  }

  at(atMs: number, task: () => void): Scheduled {
    let cancelled = false
    this.#scheduler.at(atMs, () => this.#arrive(() => cancelled || task()))
    return {
      cancel: () => {
        cancelled = true
      },
    }
  }

  /** Nothing happens in this thread any more. */
  kill(): void {
    this.#alive = false
    this.#backlog.length = 0
  }

  freeze(): void {
    this.#frozen = true
  }

  /** What came due meanwhile happens now, in its order, one event after the other. */
  thaw(): void {
    this.#frozen = false
    for (const task of this.#backlog.splice(0)) this.#scheduler.after(0, () => this.#arrive(task))
  }

  #arrive(task: () => void): void {
    if (!this.#alive) return
    if (this.#frozen) {
      this.#backlog.push(task)
      return
    }
    try {
      task()
    } catch (error) {
      this.onError(error as Error)
    }
  }
}

/** Everything that can go on without an event has gone on. */
async function settled(): Promise<void> {
  // Promises are carried on before the event loop turns.
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

function nothing(): void {}

interface Event {
  atMs: number
  order: number
  task: () => void
}

/** Events by time, then by the order in which they were asked for. */
class EventHeap {
  readonly #events: Event[] = []

  get first(): Event | undefined {
    return this.#events[0]
  }

  add(event: Event): void {
    const events = this.#events
    let at = events.length
    events.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(events[parent], event)) break
      events[at] = events[parent]
      at = parent
    }
    events[at] = event
  }

  removeFirst(): void {
    const events = this.#events
    const last = events.pop()
    if (last === undefined || events.length === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= events.length) break
      if (child + 1 < events.length && isBefore(events[child + 1], events[child])) child += 1
      if (isBefore(last, events[child])) break
      events[at] = events[child]
      at = child
    }
    events[at] = last
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
}
