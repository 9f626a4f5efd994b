import { type ShardBounds, shardBounds } from '../../src/actors/shard-bounds.js'
import { below } from '../actors/random.js'
import { Choices, skewed } from './choices.js'
import type { Command } from './commands.js'
import { strikeEffects, strikePhases } from './faults.js'
import type { Strike } from './postgres/simulated-postgres.js'
import type { ProcessSettings } from './process.js'
import { Workload } from './workload.js'

/** One thing that happens in a world, some time after the one before it. */
export type Step = { afterMs: number } & Act

export type Act =
  | { act: 'send'; command: Command; toOlder: boolean }
  /** kill -9 of the process that serves; whoever starts the next one does so with `shards`. */
  | { act: 'kill'; shards: number }
  /** SIGTERM. */
  | { act: 'stop'; shards: number }
  /** Somebody starts another process beside the one that serves. */
  | { act: 'start'; shards: number }
  | { act: 'freeze'; forMs: number }
  | { act: 'set clock'; byMs: number }
  | { act: 'strike'; strikes: Strike[] }
  | { act: 'crash postgres' | DatabaseTrouble; forMs: number }
  | { act: 'terminate backends' }
  /** The process that serves has a snapshot built, and keeps so many. */
  | { act: 'build snapshot'; keep: number }
  | { act: 'damage snapshot' }
  | { act: 'snapshots out of reach'; forMs: number }
  /** By this share of what has been committed since. */
  | { act: 'read models follow'; share: number }
  | { act: 'read models out of reach'; forMs: number }

export const databaseTroubles = [
  'refuse connects',
  'hang connects',
  'slow disk',
  'full disk',
] as const
export type DatabaseTrouble = (typeof databaseTroubles)[number]

/** Everything that a seed says of its world, before anything happens in it. */
export interface Script {
  seed: number
  shards: number
  settings: ProcessSettings
  slowShare: number
  slowMsMax: number
  steps: Step[]
  /** After the last step everything is started once more, with so many shards. */
  shardsAtLast: number
}

const shardNumbers = [1, 2, 2, 3, 3, 4, 5] as const
/** When a world begins, on its wall clock: shortly before a day ends. */
export const beginningMs = Date.UTC(2024, 1, 29, 23, 59, 40)

/** Some worlds know no faults of a kind at all: what one kind hides, another world shows. */
export function scriptOf(seed: number): Script {
  return new ScriptWriter(seed).write()
}

type FaultKind =
  | 'snapshots'
  | 'process'
  | 'postgres'
  | 'strikes'
  | 'clock'
  | 'second process'
  | 'freeze'
const faultKinds: readonly FaultKind[] = [
  'snapshots',
  'process',
  'postgres',
  'postgres',
  'strikes',
  'strikes',
  'strikes',
  'clock',
  'second process',
  'freeze',
  'freeze',
]

/** What may happen when; more often what fewer statements come to. */
const strikes: [Strike['phase'], Strike['effect']][] = strikePhases.flatMap((phase) => {
  const isRare = phase === 'before the fence' || phase === 'while it commits'
  const pairs = strikeEffects.map((effect): [Strike['phase'], Strike['effect']] => [phase, effect])
  return isRare ? [...pairs, ...pairs, ...pairs] : pairs
})
for (let share = 0; share < 2; share++) strikes.push(['before the answer', 'standby cancelled'])

class ScriptWriter {
  readonly #seed: number
  readonly #random: () => number
  readonly #workload: Workload
  readonly #faults: FaultKind[]
  #elapsedMs = 0

  constructor(seed: number) {
    this.#seed = seed
    const choices = new Choices(seed)
    this.#random = choices.of('script')
    this.#workload = new Workload(
      choices.of('workload'),
      (afterMs) => beginningMs + Math.round(this.#elapsedMs) + afterMs,
    )
    this.#faults = faultKinds.filter(() => this.#random() < 0.45)
  }

  write(): Script {
    const steps: Step[] = []
    const count = 30 + below(this.#random, 70)
    const faultShare = this.#faults.length === 0 ? 0 : 0.14 + this.#random() * 0.4
    // As often as a policy would have it, in a life as short as this.
    const buildShare = this.#pick([0, 0.04, 0.1])
    // In half of the worlds nothing is ever let go.
    const followShare = this.#pick([0, 0, 0.1, 0.3])
    for (let index = 0; index < count; index++) {
      const afterMs = this.#pause()
      this.#elapsedMs += afterMs
      const acts = this.#random() < faultShare ? this.#fault() : [this.#work(buildShare)]
      if (this.#random() < followShare) acts.push(this.#follow())
      for (const [place, act] of acts.entries()) {
        steps.push({ afterMs: place === 0 ? afterMs : 0, ...act })
      }
    }
    const isQuick = this.#random() < 0.5
    const letGo = followShare === 0 ? {} : { letGo: { beyond: below(this.#random, 8), rows: 2 } }
    return {
      seed: this.#seed,
      shards: this.#shards(),
      settings: {
        leaseMs: isQuick ? 2000 : 10_000,
        commitTimeoutMs: isQuick ? 700 : 5000,
        admissionTimeoutMs: isQuick ? 1000 : 5000,
        requestTimeoutMs: isQuick ? 2500 : 15_000,
        bounds: this.#bounds(),
        ...letGo,
      },
      slowShare: this.#pick([0, 0.01, 0.05, 0.2]),
      slowMsMax: this.#pick([20, 300, 3000]),
      steps,
      shardsAtLast: this.#shards(),
    }
  }

  /** In some worlds a shard has room for little, so that commands wait and are refused as overdue. */
  #bounds(): ShardBounds {
    const few = () => 1 + below(this.#random, 4)
    const checkpointRecords = few() * 2
    if (this.#random() < 0.6) return { ...shardBounds, checkpointRecords }
    return {
      openBatchRecords: few(),
      openBatchBytes: shardBounds.openBatchBytes,
      waitingAnswersBytes: 200 * few(),
      waitingCommands: few(),
      coordinatedItems: few(),
      checkpointRecords,
    }
  }

  #work(buildShare: number): Act {
    return this.#random() < buildShare ? this.#build() : this.#send()
  }

  #build(): Act {
    return { act: 'build snapshot', keep: 1 + below(this.#random, 3) }
  }

  #follow(): Act {
    if (this.#random() < 0.05) {
      return { act: 'read models out of reach', forMs: skewed(this.#random, 50, 5000) }
    }
    return { act: 'read models follow', share: this.#random() }
  }

  #send(): Act {
    return { act: 'send', command: this.#workload.next(), toOlder: this.#random() < 0.25 }
  }

  /** Mostly things happen on top of each other; sometimes a deadline or a lease goes by. */
  #pause(): number {
    const dice = this.#random()
    if (dice < 0.75) return skewed(this.#random, 0, 3)
    return dice < 0.95 ? this.#random() * 60 : this.#random() * 6000
  }

  #fault(): Act[] {
    const shards = this.#shards()
    switch (this.#pick(this.#faults)) {
      case 'process':
        return [{ act: this.#random() < 0.7 ? 'kill' : 'stop', shards }]
      case 'second process':
        return [{ act: 'start', shards }]
      case 'snapshots':
        return this.#snapshots()
      case 'freeze': {
        if (this.#random() < 0.3) {
          return [{ act: 'freeze', forMs: skewed(this.#random, 10, 20_000) }]
        }
        // For long enough that another process takes the book over.
        const forMs = 1000 + skewed(this.#random, 10, 20_000)
        return [
          { act: 'freeze', forMs },
          { act: 'start', shards },
        ]
      }
      case 'clock':
        return [{ act: 'set clock', byMs: Math.round((this.#random() * 2 - 1) * this.#jump()) }]
      case 'postgres':
        return [this.#databaseTrouble()]
      case 'strikes':
        return [{ act: 'strike', strikes: this.#strikes() }]
    }
  }

  /** Mostly they are built; one that is damaged shows at the next start. */
  #snapshots(): Act[] {
    const dice = this.#random()
    const build = this.#build()
    if (dice < 0.34) return [build]
    // A builder that is cut off in the middle.
    if (dice < 0.52) return [build, { act: 'kill', shards: this.#shards() }]
    if (dice < 0.91) return [{ act: 'damage snapshot' }, { act: 'kill', shards: this.#shards() }]
    return [{ act: 'snapshots out of reach', forMs: skewed(this.#random, 50, 5000) }]
  }

  #jump(): number {
    return this.#pick([5000, 600_000, 86_400_000])
  }

  #databaseTrouble(): Act {
    const forMs = skewed(this.#random, 50, 12_000)
    const dice = this.#random()
    if (dice < 0.6) return { act: 'crash postgres', forMs }
    if (dice < 0.7) return { act: 'terminate backends' }
    return { act: this.#pick(databaseTroubles), forMs }
  }

  #strikes(): Strike[] {
    return Array.from({ length: 2 + below(this.#random, 5) }, () => this.#strike())
  }

  #strike(): Strike {
    const of = this.#pick([
      ...(['batch', 'batch', 'batch', 'batch', 'batch', 'settle', 'settle'] as const),
      ...(['take-over', 'open generation', 'confirm', 'read', 'connect', 'any'] as const),
    ])
    const [phase, effect] = this.#pick(strikes)
    // Nothing but a batch has a fence.
    const fits = phase === 'before the fence' || effect === 'standby cancelled' ? 'batch' : of
    return { of: fits, phase, effect, skip: below(this.#random, 3) }
  }

  #shards(): number {
    return this.#pick(shardNumbers)
  }

  #pick<T>(from: readonly T[]): T {
    return from[below(this.#random, from.length)]
  }
}
