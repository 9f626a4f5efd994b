import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { writeJson } from '../../../src/history/statements/json-statement.js'
import { formatMinor } from '../../../src/money.js'
import {
  anyStatement,
  counterAccount,
  fewLines,
  statementOf,
  textOf,
  transaction,
} from './sample.js'

t.test('a small statement in JSON', async (t) => {
  const text = await textOf(writeJson(statementOf(fewLines)))
  t.equal(text.split('\n').length, 6, 'each line of the statement is a line of the text')
  t.same(JSON.parse(text), {
    id: '0190a1b2-0000-7000-8000-00000000000a',
    sequenceNumber: 7,
    servicer: { name: 'Bank & Sons', bic: 'ABCDDEFF' },
    account: {
      id: '0190a1b2-0000-7000-8000-000000000003',
      name: 'Current account',
      number: 'DE89 3704 0044 0532 0130 00',
      owner: 'Jo Doe',
      currency: 'EUR',
      scale: 2,
      class: 'liability',
      normalSide: 'credit',
    },
    from: '2026-01-01',
    to: '2026-01-31',
    createdAt: '2026-02-01T06:30:00.000Z',
    openingBalance: '100.00',
    lines: [
      {
        position: '1-17',
        transaction,
        side: 'credit',
        amount: '2000.00',
        balanceAfter: '2100.00',
        effectiveDate: '2026-01-05',
        recordedAt: '2026-01-05T12:00:00.000Z',
        counterAccount,
        type: 'transaction',
      },
      {
        position: '2-3',
        transaction,
        side: 'debit',
        amount: '2150.75',
        balanceAfter: '-50.75',
        effectiveDate: '2026-01-06',
        recordedAt: '2026-01-05T12:00:00.000Z',
        counterAccount,
        type: 'transaction',
        reference: 'R-1',
        description: 'Rent, "January"',
        category: 'housing',
        number: 'N-9',
        code: 42,
      },
      {
        position: '1-18',
        transaction,
        side: 'credit',
        amount: '0.25',
        balanceAfter: '-50.50',
        effectiveDate: '2026-01-05',
        recordedAt: '2026-01-05T12:00:00.000Z',
        counterAccount,
        type: 'reversal',
      },
    ],
    totals: { debits: { count: 1, sum: '2150.75' }, credits: { count: 2, sum: '2000.25' } },
    closingBalance: '-50.50',
  })
})

t.test('a statement without lines is JSON, too', async (t) => {
  const parsed = JSON.parse(await textOf(writeJson(statementOf([]))))
  t.same(parsed.lines, [])
  t.equal(parsed.openingBalance, '100.00')
  t.equal(parsed.closingBalance, '100.00')
})

t.test('whatever the lines say is read back from the JSON', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyStatement, async ({ statement, lines, closing }) => {
      const { scale } = statement.account
      const parsed = JSON.parse(await textOf(writeJson(statement)))
      assert.equal(parsed.closingBalance, formatMinor(closing, scale))
      assert.deepEqual(
        parsed.lines.map((line: Record<string, unknown>) => [
          ...[line.side, line.amount, line.balanceAfter, line.reference, line.description],
        ]),
        lines.map((line) => [
          ...[line.side, formatMinor(line.amount, scale), formatMinor(line.balanceAfter, scale)],
          ...[line.reference, line.description],
        ]),
      )
    }),
  )
  t.pass()
})
