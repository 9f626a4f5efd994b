import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { guardFormulas, writeCsv } from '../../../src/history/statements/csv-statement.js'
import { formatMinor } from '../../../src/money.js'
import { anyStatement, anyText, fewLines, lineOf, statementOf, textOf } from './sample.js'

t.test('a small statement in CSV', async (t) => {
  const account = '0190a1b2-0000-7000-8000-000000000002'
  const transaction = '0190a1b2-0000-7000-8000-000000000001'
  t.same((await textOf(writeCsv(statementOf(fewLines)))).split('\r\n'), [
    'kind,position,transaction,effectiveDate,recordedAt,debit,credit,balance,currency,' +
      'counterAccount,type,reference,description,category,number,code',
    'opening,,,2026-01-01,,,,100.00,EUR,,,,,,,',
    `entry,1-17,${transaction},2026-01-05,2026-01-05T12:00:00.000Z,,2000.00,2100.00,EUR,` +
      `${account},transaction,,,,,`,
    `entry,2-3,${transaction},2026-01-06,2026-01-05T12:00:00.000Z,2150.75,,-50.75,EUR,` +
      `${account},transaction,R-1,"Rent, ""January""",housing,N-9,42`,
    `entry,1-18,${transaction},2026-01-05,2026-01-05T12:00:00.000Z,,0.25,-50.50,EUR,` +
      `${account},reversal,,,,,`,
    'closing,,,2026-01-31,,,,-50.50,EUR,,,,,,,',
    '',
  ])
})

t.test('quotes, commas, semicolons and line breaks are read back', async (t) => {
  const description = 'a "b", c; d\ne\r\nf'
  const lines = [lineOf({ amount: 1n, balanceAfter: 100_01n, description })]
  const rows = parseCsv(await textOf(writeCsv(statementOf(lines))))
  t.equal(rows.length, 4)
  t.equal(rows[2][12], description)
})

t.test('a cell that a spreadsheet would calculate gets an apostrophe', async (t) => {
  for (const [text, guarded] of [
    ['=1+1', "'=1+1"],
    ['+420 123', "'+420 123"],
    ['-5', "'-5"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['＝1', "'＝1"],
    ['\t=1', "\t'=1"],
    [' =1', " '=1"],
    ['rent;=1', "rent;'=1"],
    ['rent; "=1', 'rent; "\'=1'],
    ['rent\n=1', "rent\n'=1"],
    ["'=1", "''=1"],
    ['1+1=2', '1+1=2'],
    ['a - b, -c', 'a - b, -c'],
    ['', ''],
  ]) {
    t.equal(guardFormulas(text), guarded, JSON.stringify(text))
  }
})

t.test('every text of people is guarded, and no balance is', async (t) => {
  const text = '=cmd()'
  const texts = { type: text, reference: text, description: text, category: text, number: text }
  const lines = [lineOf({ ...texts, side: 'debit', amount: 101_00n, balanceAfter: -1_00n })]
  const row = parseCsv(await textOf(writeCsv(statementOf(lines))))[2]
  t.same(row.slice(10, 15), Array(5).fill("'=cmd()"))
  t.equal(row[7], '-1.00')
})

t.test('no cell begins with a formula, whatever a program takes for the delimiter', async (t) => {
  await fc.assert(
    fc.property(anyText, (text) => {
      for (const delimiter of [';', '|', '\t', '\n', '\r']) {
        for (const cell of guardFormulas(text).split(delimiter)) {
          assert.doesNotMatch(cell, /^["'\s]*(?<!')[=+\-@＝＋－＠]/)
        }
      }
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('whatever the lines say is read back from the CSV', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyStatement, async ({ statement, lines, closing }) => {
      const { scale } = statement.account
      const [, opening, ...entries] = parseCsv(await textOf(writeCsv(statement)))
      const last = entries.pop()
      assert.deepEqual(
        [opening[0], opening[7]],
        ['opening', formatMinor(statement.openingBalance, scale)],
      )
      assert.deepEqual([last?.[0], last?.[7]], ['closing', formatMinor(closing, scale)])
      assert.deepEqual(
        entries.map((row) => [
          row[5],
          row[6],
          row[7],
          ...row.slice(11, 15).map(unguarded),
          row[15],
        ]),
        lines.map((line) => [
          line.side === 'debit' ? formatMinor(line.amount, scale) : '',
          line.side === 'credit' ? formatMinor(line.amount, scale) : '',
          formatMinor(line.balanceAfter, scale),
          ...[line.reference, line.description, line.category, line.number].map((text) =>
            (text ?? '').toWellFormed(),
          ),
          line.code?.toString() ?? '',
        ]),
      )
    }),
  )
  t.pass()
})

/** Takes away the one apostrophe that the guard has put there. */
function unguarded(text: string): string {
  return text.replace(/(^|[;|\t\r\n])(["'\s]*)'([=+\-@＝＋－＠])/g, '$1$2$3')
}

/** RFC 4180, and nothing else: throws if the text is not. */
function parseCsv(text: string): string[][] {
  const field = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/y
  const rows: string[][] = [[]]
  while (field.lastIndex < text.length) {
    const at = field.lastIndex
    const match = field.exec(text)
    if (match === null) throw new SyntaxError(`no CSV: ${text.slice(at, at + 80)}`)
    const value = match[1]
    rows[rows.length - 1].push(value.startsWith('"') ? unquoted(value) : value)
    if (match[2] === '\r\n') rows.push([])
  }
  return rows.slice(0, -1)
}

function unquoted(value: string): string {
  return value.slice(1, -1).replaceAll('""', '"')
}
