import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { allBugs, unseen } from './all-bugs.js'
import { chosenBugs } from './chosen-bugs.js'
import type { PlantedBug } from './planted-bug.js'
import { PlantedBuild } from './planted-build.js'

/**
 * `npm run sim:bugs [-- --seeds N] [--all] [--only NAME] [--write]`: switches planted bugs on, one at
 * a time, in a copy of the build, and tells for each the first seed that finds it; with --write in
 * docs/planted-bugs.md and .json, from which the tests take their seeds. Without --all only the
 * classic ones, and what docs/planted-bugs.json says of the others stays.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '3000' },
    all: { type: 'boolean', default: false },
    only: { type: 'string' },
    /** Only see whether all of them can be planted. */
    dry: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})

interface Found {
  bug: PlantedBug
  seed: number | undefined
  /** What the simulation says is broken. */
  said: string
}

const build = await PlantedBuild.make()
process.once('SIGINT', () => {
  void build.remove().finally(() => process.exit(130))
})
const results: Found[] = []
try {
  for (const bug of values.all ? allBugs : chosenBugs) {
    if (values.only !== undefined && !bug.name.includes(values.only)) continue
    if (bug.name in unseen && values.only === undefined && !values.dry) continue
    await build.plant(bug)
    if (values.dry) continue
    const found = await find(bug)
    results.push(found)
    const where = found.seed === undefined ? 'NOT FOUND' : `seed ${found.seed}`
    process.stdout.write(`${where.padEnd(12)} ${bug.name}: ${found.said}\n`)
  }
} finally {
  await build.remove()
}
if (values.write) await write(results)
if (results.some(({ seed }) => seed === undefined)) process.exitCode = 1

async function find(bug: PlantedBug): Promise<Found> {
  const args = [build.simulator, '--seeds', values.seeds, '--plainly']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  await new Promise((resolve) => {
    child.once('close', resolve)
  })
  const match = /^seed (\d+) breaks (promise \d+: .*)$/m.exec(output)
  return { bug, seed: match === null ? undefined : Number(match[1]), said: match?.[2] ?? '' }
}

/** What is known of each bug that was found at some time. */
type Record = { [name: string]: { seed: number; said: string } }

async function write(found: readonly Found[]): Promise<void> {
  const docs = new URL('../../../../docs/', import.meta.url)
  const path = new URL('planted-bugs.json', docs)
  const record: Record = JSON.parse(await readFile(path, 'utf8'))
  for (const { bug, seed, said } of found) {
    if (seed !== undefined) record[bug.name] = { seed, said }
  }
  await writeFile(path, `${JSON.stringify(record, undefined, 2)}\n`)
  await writeFile(new URL('planted-bugs.md', docs), page(record))
}

function page(record: Record): string {
  const rows = allBugs
    .filter(({ name }) => name in record)
    .map(({ name, what }) => {
      const { seed, said } = record[name]
      return `| ${name} | ${what} | ${seed} | ${said.replace(/\|/g, '/')} |`
    })
  const hidden = allBugs
    .filter(({ name }) => name in unseen && !(name in record))
    .map(({ name, what }) => `| ${name} | ${what} | ${unseen[name]} |`)
  return [
    '# Planted bugs',
    '',
    'Written by `npm run sim:bugs -- --all --write`: each bug is switched on alone in a copy of the build',
    '(test/simulation/planted), and the simulation runs from seed 1 until a promise is broken. The',
    'promises are numbered as in the design; 0 is what must hold besides them.',
    '',
    '| planted | what it does | first seed | what was found broken |',
    '|---|---|---|---|',
    ...rows,
    '',
    '## Not found',
    '',
    'Mostly because another layer keeps the promise; each such layer has tests of its own.',
    '',
    '| planted | what it does | why nothing breaks |',
    '|---|---|---|',
    ...hidden,
    '',
  ].join('\n')
}
