import { readFile } from 'node:fs/promises'
import t from 'tap'
import { chosenBugs } from './planted/chosen-bugs.js'
import { PlantedBuild } from './planted/planted-build.js'
import { run } from './run-program.js'

/** By name of the planted bug. */
const planted: Record<string, { seed: number }> = JSON.parse(
  await readFile(new URL('../../../docs/planted-bugs.json', import.meta.url), 'utf8'),
)

t.setTimeout(600_000)

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
  const bug = chosenBugs.find(({ name }) => name === 'batch dropped after a failed COPY')
  if (bug === undefined) throw new Error('there is no such bug')
  await build.plant(bug)
  const from = String(planted[bug.name].seed)
  const { code, output } = await run(build.simulator, ['--seeds', '1', '--from', from])
  t.equal(code, 1)
  const [, left, before] = /^(\d+) of (\d+) steps are enough/m.exec(output) ?? []
  t.ok(Number(left) < Number(before) / 2, `${left} of ${before} steps`)
  t.match(output, /VIOLATION of promise \d/)
  t.match(output, `again: npm run sim -- --from ${from} --seeds 1`)
})
