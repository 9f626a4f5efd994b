import t from 'tap'
import type { FaultRound } from '../fault-rounds.js'
import { type FaultRun, faultTable, resultOf, withRun } from './results.js'

const machine = { cpu: 'A', cores: 2, memoryGiB: 8, kernel: 'Linux 6', node: 'v20', commit: 'abc' }
const round: FaultRound = {
  ...{ fault: 'disk full', shards: 4, way: 'a small disk', hits: 2 },
  requests: 17,
  ...{ acknowledged: 10, refused: 3, unavailable: 2, unknown: 1, settled: 1, reads: 5 },
  ...{ violations: 0, seconds: 1.25 },
}
const run: FaultRun = {
  fault: 'disk full',
  rounds: [round, round],
  failures: 0,
  date: '2026-01-01',
  machine,
}

t.test('runs on the same commit add up, and leave other faults alone', async (t) => {
  const other = withRun([], { ...run, fault: 'clock jumped' })
  const results = withRun(withRun(other, run), { ...run, rounds: [round], failures: 1 })
  t.equal(results.length, 2)
  t.match(resultOf(results, 'disk full', machine), {
    ...{ rounds: 3, hits: 6, requests: 51 },
    ...{ acknowledged: 30, refused: 9, unavailable: 6, unknown: 3, settled: 3 },
    ...{ reads: 15, violations: 0, failures: 1, seconds: 3.8, way: 'a small disk' },
  })
  t.match(resultOf(results, 'clock jumped', machine), { rounds: 2, failures: 0 })
})

t.test('a run on another commit takes the place of what was there', async (t) => {
  const next = { ...machine, commit: 'def' }
  const results = withRun(withRun([], run), { ...run, machine: next })
  t.match(results, [{ rounds: 2, machine: next }])
  t.equal(resultOf(results, 'disk full', machine), undefined)
})

t.test('what differs from its commit is never added to', async (t) => {
  const changed = { ...machine, commit: 'abc+' }
  const results = withRun(withRun([], { ...run, machine: changed }), { ...run, machine: changed })
  t.match(results, [{ rounds: 2 }])
})

t.test('the table has a line for each fault', async (t) => {
  const table = faultTable(withRun([], run))
  t.match(
    table,
    '| disk full (a small disk) | 2 | 4 | 34 | 20 | 6 | 4 | 2 | 2 | 10 | 0 | 0 | 3 | abc |',
  )
})
