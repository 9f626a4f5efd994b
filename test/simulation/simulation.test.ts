import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { chosenBugs } from './planted/chosen-bugs.js'
import { PlantedBuild } from './planted/planted-build.js'
import { scriptOf } from './script.js'
import { World } from './world.js'
import '../plain-children.js'

/** Worlds of the ordinary run; DAYBOOK_TEST_SEEDS asks for more. */
const seeds = process.env.DAYBOOK_TEST_SEEDS ?? '800'
const simulator = fileURLToPath(new URL('simulate.js', import.meta.url))
/** By name of the planted bug. */
const planted: Record<string, { seed: number }> = JSON.parse(
  await readFile(new URL('../../../docs/planted-bugs.json', import.meta.url), 'utf8'),
)

t.setTimeout(600_000)

t.test('no promise is broken, however often each fault strikes', async (t) => {
  // In a process of its own: the test runner follows every promise, which takes long.
  const { code, output } = await run(simulator, ['--seeds', seeds, '--hits', '100'])
  for (const line of output.trimEnd().split('\n')) t.comment(line)
  t.equal(code, 0)
})

t.test('a world is a function of its seed', async (t) => {
  for (const seed of [1, 2, 3]) {
    const one = await new World(scriptOf(seed), { trace: true }).run()
    const other = await new World(scriptOf(seed), { trace: true }).run()
    t.ok(one.trace.length > 50)
    t.same(one.trace, other.trace)
  }
})

t.test('each planted bug is found', async (t) => {
  const build = await PlantedBuild.make()
  t.teardown(() => build.remove())
  for (const bug of chosenBugs) {
    await build.plant(bug)
    const from = String(planted[bug.name].seed)
    const { output } = await run(build.simulator, ['--seeds', '1', '--from', from, '--plainly'])
    t.match(output, new RegExp(`^seed ${from} breaks promise`), `${bug.name}, by seed ${from}`)
  }
})

t.test('what a failing seed shows is told in a few steps', async (t) => {
  const build = await PlantedBuild.make()
  t.teardown(() => build.remove())
  const bug = chosenBugs.find(({ name }) => name === 'undecided credit spent')
  if (bug === undefined) throw new Error('there is no such bug')
  await build.plant(bug)
  const from = String(planted[bug.name].seed)
  const { code, output } = await run(build.simulator, ['--seeds', '1', '--from', from])
  t.equal(code, 1)
  const [, left, before] = /^(\d+) of (\d+) steps are enough/m.exec(output) ?? []
  t.ok(Number(left) < Number(before) / 2, `${left} of ${before} steps`)
  t.match(output, /VIOLATION of promise 5/)
  t.match(output, `again: npm run sim -- --from ${from} --seeds 1`)
})

function run(program: string, args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, output }))
  })
}
