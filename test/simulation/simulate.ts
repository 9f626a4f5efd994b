import { parseArgs } from 'node:util'
import { faults } from './faults.js'
import { scriptOf } from './script.js'
import { shrink } from './shrink.js'
import { World } from './world.js'

/**
 * `npm run sim -- --seeds N [--from S]`: runs worlds one after the other, says how fast, and how
 * often each fault struck; the first that breaks a promise is shrunk and told. `--seed S --trace`
 * tells one world whole. Ctrl-C ends it at any time; it can go on from any seed.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    /** Says which seed fails, and does not shrink it. */
    plainly: { type: 'boolean', default: false },
    /** Fails unless each fault has struck so often. */
    hits: { type: 'string', default: '0' },
  },
})

const from = Number(values.from)
const end = from + Number(values.seeds)
const hits = new Map<string, number>()
const answers = new Map<string, number>()
const startedAt = performance.now()
let steps = 0
let simulatedMs = 0
let done = 0

process.once('SIGINT', () => {
  report()
  process.stdout.write(`stopped; go on with --from ${from + done}\n`)
  process.exit(130)
})

for (let seed = from; seed < end; seed++) {
  const script = scriptOf(seed)
  const outcome = await new World(script, { trace: values.trace }).run()
  for (const line of outcome.trace) process.stdout.write(`${line}\n`)
  steps += outcome.steps
  simulatedMs += outcome.simulatedMs
  add(hits, outcome.hits)
  add(answers, outcome.answers)
  if (outcome.violation !== undefined) {
    await tell(seed)
    report()
    process.exit(1)
  }
  done += 1
  if (done % 500 === 0) process.stdout.write(`${progress()}\n`)
}
report()
const tooFew = faults.filter((fault) => (hits.get(fault) ?? 0) < Number(values.hits))
if (tooFew.length > 0) {
  process.stdout.write(`struck less than ${values.hits} times: ${tooFew.join(', ')}\n`)
  process.exitCode = 1
}

/** The failing seed, in as few steps as it can be told. */
async function tell(seed: number): Promise<void> {
  const script = scriptOf(seed)
  const { violation } = await new World(script, { trace: false }).run()
  if (violation === undefined) throw new Error(`seed ${seed} does not replay`)
  process.stdout.write(`seed ${seed} breaks promise ${violation.promise}: ${violation.message}\n`)
  if (values.trace || values.plainly) return
  const shrunk = await shrink(script, violation)
  const { length } = script.steps
  process.stdout.write(`${shrunk.script.steps.length} of ${length} steps are enough for it:\n\n`)
  process.stdout.write(`${shrunk.outcome.trace.join('\n')}\n\n`)
  process.stdout.write(`again: npm run sim -- --from ${seed} --seeds 1\n`)
}

function progress(): string {
  const seconds = (performance.now() - startedAt) / 1000
  return (
    `${done} seeds clean, ${(done / seconds).toFixed(1)} seeds/s, ${steps} events, ` +
    `${Math.round(simulatedMs / 60_000)} simulated minutes`
  )
}

function report(): void {
  process.stdout.write(
    `${progress()}\n\nfaults that struck:\n${list(hits)}\n\nanswers:\n${list(answers)}\n`,
  )
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([what, count]) => `${String(count).padStart(8)}  ${what}`)
    .join('\n')
}

function add(to: Map<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [what, count] of more) to.set(what, (to.get(what) ?? 0) + count)
}
