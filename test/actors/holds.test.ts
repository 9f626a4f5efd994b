import fc from 'fast-check'
import t from 'tap'
import { type Hold, HoldTable } from '../../src/actors/holds.js'

/** The table is compared with a list of all holds, of which the earliest is looked for. */
type Step =
  | { kind: 'add'; expiresAt: number }
  | { kind: 'remove' | 'occupy' | 'resume'; pick: number }
  | { kind: 'postpone' }
  | { kind: 'take up' }

const pick = fc.nat(1000)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('add' as const),
    expiresAt: fc.oneof(fc.nat(50), fc.constant(Number.POSITIVE_INFINITY)),
  }),
  fc.record({ kind: fc.constantFrom('remove', 'occupy', 'resume'), pick }),
  fc.constantFrom<Step>({ kind: 'postpone' }, { kind: 'take up' }),
)

t.test('next expires the earliest hold that is neither busy nor postponed', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = new HoldTable()
      const holds: Hold[] = []
      const postponed = new Set<Hold>()
      for (const [row, next] of steps.entries()) {
        carryOut(table, holds, postponed, row, next)
        const due = holds.filter(
          (hold) => !hold.busy && !postponed.has(hold) && Number.isFinite(hold.expiresAt),
        )
        const earliest = Math.min(...due.map(({ expiresAt }) => expiresAt))
        const found = table.nextToExpire()
        if ((found?.expiresAt ?? Infinity) !== earliest) return false
        if (found !== undefined && !due.includes(found)) return false
      }
      return table.count === holds.length
    }),
    { numRuns: 1000 },
  )
})

function carryOut(
  table: HoldTable,
  holds: Hold[],
  postponed: Set<Hold>,
  row: number,
  step: Step,
): void {
  if (step.kind === 'add') {
    const { expiresAt } = step
    const hold = { row, postings: [], expiresAt, busy: false, queued: false }
    table.add(hold)
    holds.push(hold)
    return
  }
  if (step.kind === 'postpone') {
    // What a shard does when something undecided stands in the way of an expiry.
    const hold = table.nextToExpire()
    if (hold === undefined) return
    table.postpone(hold)
    postponed.add(hold)
    return
  }
  if (step.kind === 'take up') {
    table.takeUpPostponed()
    postponed.clear()
    return
  }
  if (holds.length === 0) return
  const index = step.pick % holds.length
  const hold = holds[index]
  if (step.kind === 'remove') {
    table.remove(hold.row)
    holds.splice(index, 1)
  } else if (step.kind === 'occupy') {
    hold.busy = true
  } else if (hold.busy) {
    table.resume(hold)
  }
}
