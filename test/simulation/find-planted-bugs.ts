import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { moreBugs } from './more-bugs.js'
import { bugsElsewhere } from './more-bugs-elsewhere.js'
import { bugsOfTheJournal } from './more-bugs-journal.js'
import { type PlantedBug, plantedBugs } from './planted-bugs.js'
import { PlantedBuild } from './planted-build.js'

/**
 * `npm run sim:bugs [-- --seeds N] [--only NAME] [--write]`: switches planted bugs on, one at a
 * time, in a copy of the build, and tells for each the first seed that finds it; with --write in
 * docs/planted-bugs.md and .json, from which the test of all bugs takes its seeds.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '3000' },
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
  for (const bug of [...plantedBugs, ...moreBugs, ...bugsElsewhere, ...bugsOfTheJournal]) {
    if (values.only !== undefined && !bug.name.includes(values.only)) continue
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

async function write(found: readonly Found[]): Promise<void> {
  const docs = new URL('../../../docs/', import.meta.url)
  const seeds = Object.fromEntries(found.map(({ bug, seed }) => [bug.name, seed]))
  await writeFile(new URL('planted-bugs.json', docs), `${JSON.stringify(seeds, undefined, 2)}\n`)
  await writeFile(new URL('planted-bugs.md', docs), page(found))
}

function page(found: readonly Found[]): string {
  const rows = found.map(
    ({ bug, seed, said }) =>
      `| ${bug.name} | ${bug.what} | ${seed} | ${said.replace(/\|/g, '/')} |`,
  )
  return [
    '# Planted bugs',
    '',
    'Written by `npm run sim:bugs -- --write`: each bug is switched on alone in a copy of the build',
    '(test/simulation/planted-bugs.ts), and the simulation runs from seed 1 until a promise is broken.',
    'The promises are numbered as in the design; 0 is what must hold besides them.',
    '',
    '| planted | what it does | first seed | what was found broken |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}
