import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { sumUp, Tally } from '../../../src/history/statements/tally.js'
import { anyStatement, fewLines, lineOf, statementOf } from './sample.js'

t.test('opening balance and lines give the closing balance, whatever the class', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyStatement, async ({ statement, lines, closing }) => {
      const totals = await sumUp(statement)
      const sum = (side: string) =>
        lines.filter((line) => line.side === side).reduce((sum, { amount }) => sum + amount, 0n)
      assert.equal(totals.closingBalance, closing)
      assert.equal(totals.debits.sum, sum('debit'))
      assert.equal(totals.credits.sum, sum('credit'))
      assert.equal(totals.debits.count + totals.credits.count, lines.length)
    }),
  )
  t.pass()
})

t.test('an account of an asset grows by debits, one of a liability by credits', async (t) => {
  const { account } = statementOf([])
  const closing = (accountClass: 'asset' | 'liability', balanceAfter: bigint) => {
    const lines = [lineOf({ side: 'debit', amount: 30_00n, balanceAfter })]
    return sumUp(statementOf(lines, { account: { ...account, class: accountClass } }))
  }
  t.equal((await closing('asset', 130_00n)).closingBalance, 130_00n)
  t.equal((await closing('liability', 70_00n)).closingBalance, 70_00n)
})

t.test('a line that is missing, there twice or worth nothing is found', async (t) => {
  const [first, second, third] = fewLines
  for (const lines of [[second], [first, first], [first, third], [second, first]]) {
    await t.rejects(sumUp(statementOf(lines)), { code: 'balance_broken' })
  }
  const tally = new Tally(statementOf([]))
  t.throws(() => tally.add(lineOf({ amount: 0n, balanceAfter: 100_00n })), {
    code: 'balance_broken',
  })
})
