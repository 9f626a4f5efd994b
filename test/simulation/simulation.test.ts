import { fileURLToPath } from 'node:url'
import t from 'tap'
import { run } from './run-program.js'
import { scriptOf } from './script.js'
import { World } from './world.js'

/** Worlds of the ordinary run; DAYBOOK_TEST_SEEDS asks for more. */
const seeds = process.env.DAYBOOK_TEST_SEEDS ?? '800'
const simulator = fileURLToPath(new URL('simulate.js', import.meta.url))

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
