import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { writePdf } from '../../../src/history/statements/pdf-statement.js'
import { effectOf } from '../../../src/history/statements/tally.js'
import { foldToWinAnsi } from '../../../src/history/statements/win-ansi.js'
import { formatMinor } from '../../../src/money.js'
import { pageTexts } from './pdf-text.js'
import { anyStatement, bytesOf, fewLines, lineOf, statementOf } from './sample.js'

t.test('a small statement in PDF', async (t) => {
  const pdf = await bytesOf(writePdf(statementOf(fewLines), { compress: false }))
  t.match(pdf.toString('latin1'), /^%PDF-1\.\d\n/)
  t.same(pageTexts(pdf), [
    [
      'page 1',
      'Bank & Sons',
      'BIC ABCDDEFF',
      'Statement of account DE89 3704 0044 0532 0130 00, 2026-01-01 to 2026-01-31',
      'No. 7, 0190a1b2-0000-7000-8000-00000000000a, made 2026-02-01 06:30 UTC',
      'Holder: Jo Doe',
      'Account: Current account',
      'Number: DE89 3704 0044 0532 0130 00',
      'Id: 0190a1b2-0000-7000-8000-000000000003',
      'Currency: EUR',
      'Opening balance at the beginning of 2026-01-01: 100.00 EUR',
      ...['Date', 'Amount', 'Balance', 'Text'],
      ...['2026-01-05', '+2000.00', '2100.00', 'transaction'],
      ...['2026-01-06', '-2150.75', '-50.75', 'Rent, "January" / R-1'],
      ...['2026-01-05', '+0.25', '-50.50', 'reversal'],
      'Credits: 2, 2000.25 EUR',
      'Debits: 1, 2150.75 EUR',
      'Closing balance at the end of 2026-01-31: -50.50 EUR',
    ],
  ])
})

t.test('the same statement gives the same bytes, compressed or not the same text', async (t) => {
  const [first, second] = [statementOf(fewLines), statementOf(fewLines)]
  const bytes = await bytesOf(writePdf(first))
  t.ok(bytes.equals(await bytesOf(writePdf(second))))
  t.same(pageTexts(bytes), pageTexts(await bytesOf(writePdf(first, { compress: false }))))
})

// The head takes 208.76 points of page 1 and 75 of the others, a row 12, the end 60, of 782.
for (const [lines, pages] of [
  ...[
    [0, 1],
    [42, 1],
    [43, 2],
    [47, 2],
    [100, 2],
    [101, 3],
    [105, 3],
    [1000, 18],
  ],
]) {
  t.test(`${lines} lines make ${pages} pages, each with its number and head`, async (t) => {
    const rows = Array.from({ length: lines }, (_, index) =>
      lineOf({ amount: 1_01n, balanceAfter: 100_00n + 1_01n * BigInt(index + 1) }),
    )
    const texts = pageTexts(await bytesOf(writePdf(statementOf(rows))))
    t.equal(texts.length, pages)
    t.same(
      texts.map(([number]) => number),
      texts.map((_, index) => `page ${index + 1}`),
    )
    t.ok(texts.slice(1).every((page) => page[1].startsWith('Statement of account DE89')))
    const amounts = texts.map((page) => page.filter((text) => text === '+1.01').length)
    t.equal(
      amounts.reduce((a, b) => a + b),
      lines,
    )
    t.ok(texts.every((page, i) => !amounts[i] || page.includes('Balance')))
  })
}

t.test('a long text wraps, is not cut, and stays on one page', async (t) => {
  const description = `${'word '.repeat(60)}${'x'.repeat(100)}`
  const rows = Array.from({ length: 20 }, (_, index) =>
    lineOf({ amount: 1n, balanceAfter: 100_00n + BigInt(index + 1), description }),
  )
  const texts = pageTexts(await bytesOf(writePdf(statementOf(rows))))
  t.ok(texts.length > 1)
  const all = texts.flat().join('')
  t.equal(all.match(/word/g)?.length, 20 * 60)
  t.equal(all.match(/x{2,}/g)?.join('').length, 20 * 100)
  for (const page of texts) {
    const rowsOfPage = page.filter((text) => text === '+0.01').length
    const wordsOfPage = page.join('').match(/word/g) ?? []
    t.equal(wordsOfPage.length, rowsOfPage * 60)
    t.ok(page.filter((text) => /word|x{2}/.test(text)).length <= 58, 'within the margins')
  }
})

t.test('whatever the lines say, all amounts and balances are in the PDF', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyStatement, async ({ statement, lines, closing }) => {
      const { account } = statement
      const texts = pageTexts(await bytesOf(writePdf(statement))).flat()
      const rows = texts.flatMap((text, index) =>
        /^\d{4}-\d\d-\d\d$/.test(text) ? [texts.slice(index + 1, index + 3)] : [],
      )
      assert.deepEqual(
        rows,
        lines.map((line) => [
          formatMinor(effectOf(line, account), account.scale).replace(/^(?!-)/, '+'),
          formatMinor(line.balanceAfter, account.scale),
        ]),
      )
      assert.ok(texts.at(-1)?.endsWith(`: ${formatMinor(closing, account.scale)} EUR`))
      const letters = (text: string) => text.replace(/\s/g, '')
      for (const { description = '' } of lines) {
        assert.ok(letters(texts.join('')).includes(letters(foldToWinAnsi(description))))
      }
    }),
  )
  t.pass()
})
