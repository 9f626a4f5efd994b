/**
 * `npm run faults -- --rounds 100 [--only "disk full"]…`: runs the script of each fault until so many
 * of its rounds are recorded for this commit, and writes docs/reliability-faults.json and .md. Ctrl-C
 * ends it after the round that is under way; started again, it goes on from there.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeMachine } from '../../../bench/machine.js'
import { type Fault, type FaultRound, scripts, stopSuffix } from '../fault-rounds.js'
import { type FaultResult, faultTable, resultOf, withRun } from './results.js'

const resultsPath = 'docs/reliability-faults.json'
const tablePath = 'docs/reliability-faults.md'
/** A process of its own for so many rounds, each with a new book: checking a long one takes long. */
const roundsPerRun = 20
const lookEveryMs = 500

const machine = describeMachine()
let isStopping = false

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    only: { type: 'string', multiple: true },
  },
})
const faults = faultsNamed(values.only)
const wanted = Number(values.rounds)
if (!Number.isInteger(wanted) || wanted < 1) throw new Error('--rounds is not a number')

process.on('SIGINT', () => {
  isStopping = true
  console.log('\nending with the round that is under way')
})

let hasFailed = false
for (const fault of faults) {
  if (!(await record(fault))) hasFailed = true
  if (isStopping) break
}
process.exitCode = hasFailed ? 1 : 0

function faultsNamed(names: string[] | undefined): Fault[] {
  const all = Object.keys(scripts) as Fault[]
  for (const name of names ?? []) {
    if (!all.some((fault) => fault === name)) {
      throw new Error(`there is no fault ${JSON.stringify(name)}; there are: ${all.join(', ')}`)
    }
  }
  return all.filter((fault) => names?.includes(fault) ?? true)
}

/** Runs the script until enough rounds are recorded; false if something was found wrong. */
async function record(fault: Fault): Promise<boolean> {
  const before = readResults()
  const recorded = resultOf(before, fault, machine)?.rounds ?? 0
  if (recorded >= wanted) console.log(`${fault}: ${recorded} rounds are recorded already`)
  const rounds: FaultRound[] = []
  let [isRight, isThere] = [true, true]
  while (recorded + rounds.length < wanted && isRight && isThere && !isStopping) {
    const missing = wanted - recorded - rounds.length
    const run = await runScript(fault, Math.min(roundsPerRun, missing), recorded + rounds.length)
    rounds.push(...run.rounds)
    isRight = run.isRight
    isThere = run.rounds.length > 0
    const date = new Date().toISOString().slice(0, 10)
    const failures = isRight ? 0 : 1
    writeResults(withRun(before, { fault, rounds, failures, date, machine }))
    if (!isRight) console.log(`${fault}: the script failed, see ${run.output}`)
    else if (!isThere && !isStopping) console.log(`${fault}: not done here, see ${run.output}`)
  }
  return isRight && (isThere || isStopping)
}

interface ScriptRun {
  rounds: FaultRound[]
  isRight: boolean
  /** What the test said. */
  output: string
}

async function runScript(fault: Fault, count: number, before: number): Promise<ScriptRun> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-faults-'))
  const [log, output] = [join(folder, 'rounds'), join(folder, 'output.tap')]
  writeFileSync(log, '')
  const outputFile = openSync(output, 'a')
  const script = fileURLToPath(new URL(`../${scripts[fault]}.test.js`, import.meta.url))
  const child = spawn(process.execPath, [script], {
    env: {
      ...process.env,
      DAYBOOK_TEST_FAULT: fault,
      DAYBOOK_TEST_FAULT_LOG: log,
      DAYBOOK_TEST_ROUNDS: String(count),
    },
    // A session of its own: Ctrl-C is for us alone, and the script ends in order.
    detached: true,
    stdio: ['ignore', outputFile, outputFile],
  })
  const ended = once(child, 'exit')
  let shown = 0
  while (child.exitCode === null && child.signalCode === null) {
    await Promise.race([ended, sleep(lookEveryMs)])
    if (isStopping && !existsSync(log + stopSuffix)) writeFileSync(log + stopSuffix, '')
    const { length } = roundsIn(log)
    if (length > shown) console.log(`${fault}: ${before + length} of ${wanted} rounds`)
    shown = length
  }
  closeSync(outputFile)
  const rounds = roundsIn(log)
  const isRight = child.exitCode === 0
  if (isRight && rounds.length > 0) await rm(folder, { recursive: true })
  return { rounds, isRight, output }
}

function roundsIn(log: string): FaultRound[] {
  const lines = readFileSync(log, 'utf8').split('\n')
  return lines.filter((text) => text !== '').map((text) => JSON.parse(text) as FaultRound)
}

function readResults(): FaultResult[] {
  return existsSync(resultsPath) ? JSON.parse(readFileSync(resultsPath, 'utf8')) : []
}

function writeResults(results: readonly FaultResult[]): void {
  const order = Object.keys(scripts)
  const sorted = results.toSorted((a, b) => order.indexOf(a.fault) - order.indexOf(b.fault))
  writeFileSync(resultsPath, `${JSON.stringify(sorted, null, 2)}\n`)
  writeFileSync(tablePath, faultTable(sorted))
}
