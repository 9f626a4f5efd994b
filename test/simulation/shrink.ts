import type { Violation } from './oracle/violation.js'
import type { Script, Step } from './script.js'
import { World, type WorldOutcome } from './world.js'

/** Worlds that are tried at most on the way to a shorter script. */
const triesMax = 400

export interface Shrunk {
  script: Script
  outcome: WorldOutcome
  tries: number
}

/**
 * Takes steps away from a script for as long as the same promise is still broken, first many at a
 * time, then one by one. The choices of a world hang on names, not on how many were made before, so
 * what is left goes on much as it did.
 */
export async function shrink(script: Script, violation: Violation): Promise<Shrunk> {
  let best = script
  let tries = 0
  const stillFails = async (candidate: Script): Promise<boolean> => {
    tries += 1
    const outcome = await new World(candidate, { trace: false }).run()
    return outcome.violation?.promise === violation.promise
  }
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; ) {
    const before = best.steps.length
    for (let at = 0; at < best.steps.length && tries < triesMax; ) {
      const candidate = { ...best, steps: without(best.steps, at, size) }
      if (await stillFails(candidate)) best = candidate
      else at += size
    }
    if (tries >= triesMax) break
    if (size > 1) size = Math.ceil(size / 2)
    else if (best.steps.length === before) break
  }
  for (const simpler of simplerThan(best)) {
    if (tries < triesMax && (await stillFails(simpler))) best = simpler
  }
  return { script: best, outcome: await new World(best, { trace: true }).run(), tries }
}

/** The steps but those from `at`; what follows stays as late as it was. */
function without(steps: readonly Step[], at: number, size: number): Step[] {
  const gone = steps.slice(at, at + size)
  const goneMs = gone.reduce((sum, { afterMs }) => sum + afterMs, 0)
  return steps
    .slice(0, at)
    .concat(
      steps
        .slice(at + size)
        .map((step, index) => (index === 0 ? { ...step, afterMs: step.afterMs + goneMs } : step)),
    )
}

function simplerThan(script: Script): Script[] {
  const simpler: Script[] = []
  if (script.slowShare > 0) simpler.push({ ...script, slowShare: 0 })
  for (const shards of [1, 2]) if (shards < script.shards) simpler.push({ ...script, shards })
  return simpler
}
