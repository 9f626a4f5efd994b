import fc from 'fast-check'
import t from 'tap'
import { type Hold, HoldTable } from '../../src/actors/holds.js'

/** The table is compared with a list of all holds, of which the earliest is looked for. */
type Step =
  | { kind: 'add'; expiresAt: number }
  | { kind: 'remove' | 'occupy' | 'resume'; pick: number }
  | { kind: 'expire'; retryMs: number }

const pick = fc.nat(1000)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('add' as const),
    expiresAt: fc.oneof(fc.nat(50), fc.constant(Number.POSITIVE_INFINITY)),
  }),
  fc.record({ kind: fc.constantFrom('remove', 'occupy', 'resume'), pick }),
  fc.record({ kind: fc.constant('expire' as const), retryMs: fc.nat(30) }),
)

t.test('the hold that expires next is always the earliest that is not busy', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = new HoldTable()
      const holds: Hold[] = []
      for (const [row, next] of steps.entries()) {
        carryOut(table, holds, row, next)
        const due = holds.filter(({ busy, dueAt }) => !busy && Number.isFinite(dueAt))
        const earliest = due.reduce((least, { dueAt }) => Math.min(least, dueAt), Infinity)
        const found = table.nextToExpire()
        if ((found?.dueAt ?? Infinity) !== earliest) return false
        if (found !== undefined && !due.includes(found)) return false
      }
      return table.count === holds.length
    }),
    { numRuns: 1000 },
  )
})

function carryOut(table: HoldTable, holds: Hold[], row: number, step: Step): void {
  if (step.kind === 'add') {
    const { expiresAt } = step
    const hold = { row, postings: [], expiresAt, dueAt: expiresAt, busy: false, queued: false }
    table.add(hold)
    holds.push(hold)
    return
  }
  if (step.kind === 'expire') {
    // What a shard does when the accounts of a hold stand in the way of its expiry.
    const hold = table.nextToExpire()
    if (hold !== undefined) table.resume(hold, hold.dueAt + step.retryMs)
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
    table.resume(hold, hold.expiresAt)
  }
}
