import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { create } from 'xmlbuilder2'
import type { AccountClass } from '../../../src/actors/accounts.js'
import { writeCamt053 } from '../../../src/history/statements/camt053.js'
import type { Statement, StatementLine } from '../../../src/history/statements/statement.js'
import { formatMinor } from '../../../src/money.js'
import { elementsOf, schemaFaults, textsAt, type XmlElement } from './camt053-schema.js'
import { anyStatement, fewLines, lineOf, statementOf, textOf } from './sample.js'

const details = 'NtryDtls/TxDtls'

t.test('a small statement in camt.053', async (t) => {
  const transaction = '0190a1b2000070008000000000000001'
  const counterAccount = '<Id><Othr><Id>0190a1b2000070008000000000000002</Id></Othr></Id>'
  const recorded = '<RltdDts><AccptncDtTm>2026-01-05T12:00:00.000Z</AccptncDtTm></RltdDts>'
  const expected = [
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>',
    '<GrpHdr><MsgId>0190a1b200007000800000000000000a</MsgId>',
    '<CreDtTm>2026-02-01T06:30:00.000Z</CreDtTm></GrpHdr>',
    '<Stmt><Id>0190a1b200007000800000000000000a</Id><ElctrncSeqNb>7</ElctrncSeqNb>',
    '<CreDtTm>2026-02-01T06:30:00.000Z</CreDtTm>',
    '<FrToDt><FrDtTm>2026-01-01T00:00:00</FrDtTm><ToDtTm>2026-01-31T23:59:59</ToDtTm></FrToDt>',
    '<Acct><Id><IBAN>DE89370400440532013000</IBAN></Id><Ccy>EUR</Ccy><Nm>Current account</Nm>',
    '<Ownr><Nm>Jo Doe</Nm></Ownr>',
    '<Svcr><FinInstnId><BICFI>ABCDDEFF</BICFI><Nm>Bank &amp; Sons</Nm></FinInstnId></Svcr></Acct>',
    '<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">100.00</Amt>',
    '<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-01</Dt></Dt></Bal>',
    '<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">50.50</Amt>',
    '<CdtDbtInd>DBIT</CdtDbtInd><Dt><Dt>2026-01-31</Dt></Dt></Bal>',
    '<TxsSummry><TtlNtries><NbOfNtries>3</NbOfNtries><Sum>4151.00</Sum>',
    '<TtlNetNtry><Amt>150.50</Amt><CdtDbtInd>DBIT</CdtDbtInd></TtlNetNtry></TtlNtries>',
    '<TtlCdtNtries><NbOfNtries>2</NbOfNtries><Sum>2000.25</Sum></TtlCdtNtries>',
    '<TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>2150.75</Sum></TtlDbtNtries></TxsSummry>\n',
    '<Ntry><NtryRef>1-17</NtryRef><Amt Ccy="EUR">2000.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>',
    '<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-05</Dt></BookgDt>',
    `<ValDt><Dt>2026-01-05</Dt></ValDt><AcctSvcrRef>${transaction}</AcctSvcrRef>`,
    '<BkTxCd><Prtry><Cd>transaction</Cd></Prtry></BkTxCd>',
    `<NtryDtls><TxDtls><Refs><AcctSvcrRef>${transaction}</AcctSvcrRef></Refs>`,
    '<Amt Ccy="EUR">2000.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>',
    `<RltdPties><DbtrAcct>${counterAccount}</DbtrAcct></RltdPties>${recorded}`,
    '</TxDtls></NtryDtls></Ntry>\n',
    '<Ntry><NtryRef>2-3</NtryRef><Amt Ccy="EUR">2150.75</Amt><CdtDbtInd>DBIT</CdtDbtInd>',
    '<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-05</Dt></BookgDt>',
    `<ValDt><Dt>2026-01-06</Dt></ValDt><AcctSvcrRef>${transaction}</AcctSvcrRef>`,
    '<BkTxCd><Prtry><Cd>42</Cd></Prtry></BkTxCd>',
    `<NtryDtls><TxDtls><Refs><AcctSvcrRef>${transaction}</AcctSvcrRef>`,
    '<EndToEndId>R-1</EndToEndId><Prtry><Tp>NUMBER</Tp><Ref>N-9</Ref></Prtry></Refs>',
    '<Amt Ccy="EUR">2150.75</Amt><CdtDbtInd>DBIT</CdtDbtInd>',
    `<RltdPties><CdtrAcct>${counterAccount}</CdtrAcct></RltdPties>`,
    '<Purp><Prtry>housing</Prtry></Purp>',
    `<RmtInf><Ustrd>Rent, &quot;January&quot;</Ustrd></RmtInf>${recorded}`,
    '</TxDtls></NtryDtls></Ntry>\n',
    '<Ntry><NtryRef>1-18</NtryRef><Amt Ccy="EUR">0.25</Amt><CdtDbtInd>CRDT</CdtDbtInd>',
    '<RvslInd>true</RvslInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-05</Dt></BookgDt>',
    `<ValDt><Dt>2026-01-05</Dt></ValDt><AcctSvcrRef>${transaction}</AcctSvcrRef>`,
    '<BkTxCd><Prtry><Cd>reversal</Cd></Prtry></BkTxCd>',
    `<NtryDtls><TxDtls><Refs><AcctSvcrRef>${transaction}</AcctSvcrRef></Refs>`,
    '<Amt Ccy="EUR">0.25</Amt><CdtDbtInd>CRDT</CdtDbtInd>',
    `<RltdPties><DbtrAcct>${counterAccount}</DbtrAcct></RltdPties>${recorded}`,
    '</TxDtls></NtryDtls></Ntry>\n',
    '</Stmt></BkToCstmrStmt></Document>\n',
  ]
  t.equal(await textOf(writeCamt053(statementOf(fewLines))), expected.join(''))
})

t.test('whatever the lines say, it fits the schema and is read back', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyStatement, async ({ statement, lines, closing }) => {
      const { scale, class: accountClass } = statement.account
      const { document, statementElement } = await parsed(statement)
      assert.deepEqual(schemaFaults(document), [])
      assert.deepEqual(
        textsAt(statementElement, 'Ntry/Amt'),
        lines.map(({ amount }) => formatMinor(amount, scale)),
      )
      assert.deepEqual(
        textsAt(statementElement, 'Ntry/CdtDbtInd'),
        lines.map(({ side }) => (side === 'credit' ? 'CRDT' : 'DBIT')),
      )
      const entries = elementsOf(statementElement).filter(({ localName }) => localName === 'Ntry')
      assert.deepEqual(entries.map(shownTexts), lines.map(givenTexts))
      const credit = onCreditSide(accountClass)
      assert.deepEqual(signed(statementElement, 'Bal'), [
        formatMinor(credit(statement.openingBalance), scale),
        formatMinor(credit(closing), scale),
      ])
      assert.deepEqual(signed(statementElement, 'TxsSummry/TtlNtries/TtlNetNtry'), [
        formatMinor(credit(closing - statement.openingBalance), scale),
      ])
    }),
  )
  t.pass()
})

t.test('a loan that is owed has a debit balance, and its repayment is a credit', async (t) => {
  const { account } = statementOf([])
  const lines = [lineOf({ side: 'credit', amount: 40_00n, balanceAfter: 60_00n })]
  const loan = statementOf(lines, { account: { ...account, class: 'asset' } })
  const { statementElement } = await parsed(loan)
  t.same(signed(statementElement, 'Bal'), ['-100.00', '-60.00'])
  t.same(textsAt(statementElement, 'Ntry/CdtDbtInd'), ['CRDT'])
})

t.test('a balance of zero is a credit', async (t) => {
  const { account } = statementOf([])
  const empty = { account: { ...account, class: 'asset' as const }, openingBalance: 0n }
  const { statementElement } = await parsed(statementOf([], empty))
  t.same(textsAt(statementElement, 'Bal/CdtDbtInd'), ['CRDT', 'CRDT'])
})

t.test(
  'a number that is no IBAN, or longer than the schema allows, is not said to be one',
  async (t) => {
    const id = async (number: string | undefined) => {
      const account = { ...statementOf([]).account, number }
      const { statementElement, document } = await parsed(statementOf([], { account }))
      t.same(schemaFaults(document), [])
      return [
        ...textsAt(statementElement, 'Acct/Id/IBAN'),
        ...textsAt(statementElement, 'Acct/Id/Othr/Id').map((other) => `other ${other}`),
      ]
    }
    t.same(await id('CZ65 0800 0000 1920 0014 5399'), ['CZ6508000000192000145399'])
    t.same(await id('CZ66 0800 0000 1920 0014 5399'), ['other CZ66 0800 0000 1920 0014 5399'])
    t.same(await id('19-2000145399/0800'), ['other 19-2000145399/0800'])
    t.same(await id('9'.repeat(35)), ['other 0190a1b2000070008000000000000003'])
    t.same(await id(''), ['other 0190a1b2000070008000000000000003'])
    t.same(await id(undefined), ['other 0190a1b2000070008000000000000003'])
  },
)

t.test(
  'long texts go on where there is room, long labels are cut, nothing splits a character',
  async (t) => {
    const description = '😀'.repeat(141)
    const texts = { reference: 'r'.repeat(128), number: 'n'.repeat(64), description }
    const labels = { category: `${'c'.repeat(34)}😀!`, type: 't'.repeat(64) }
    const lines = [lineOf({ amount: 1n, balanceAfter: 100_01n, ...texts, ...labels })]
    const { document, statementElement } = await parsed(statementOf(lines))
    t.same(schemaFaults(document), [])
    t.same(textsAt(statementElement, `Ntry/${details}/RmtInf/Ustrd`), [
      ...[texts.reference, texts.number, '😀'.repeat(140), '😀'],
    ])
    t.same(textsAt(statementElement, `Ntry/${details}/Refs/EndToEndId`), [])
    t.same(textsAt(statementElement, `Ntry/${details}/Refs/Prtry`), [])
    t.same(textsAt(statementElement, `Ntry/${details}/Purp/Prtry`), [`${'c'.repeat(34)}😀`])
    t.same(textsAt(statementElement, 'Ntry/BkTxCd/Prtry/Cd'), ['t'.repeat(35)])
  },
)

t.test('what XML does not know or would change is replaced or written as an entity', async (t) => {
  const description = 'a\u0000b\ud800c\uffffd\re]]>f&amp;'
  const lines = [lineOf({ amount: 1n, balanceAfter: 100_01n, description })]
  const text = await textOf(writeCamt053(statementOf(lines)))
  t.match(text, '<Ustrd>a\ufffdb\ufffdc\ufffdd&#xD;e]]&gt;f&amp;amp;</Ustrd>')
})

t.test('what the schema has no room for is refused before the first piece', async (t) => {
  const { account, servicer } = statementOf([])
  const refused: Partial<Statement>[] = [
    { account: { ...account, currency: 'POINTS' } },
    { account: { ...account, scale: 6 } },
    { openingBalance: 10n ** 18n },
    { openingBalance: -(10n ** 18n) },
    { id: 'x'.repeat(36) },
    { id: '' },
    { servicer: { ...servicer, bic: 'bank' } },
  ]
  for (const changes of refused) {
    const pieces = writeCamt053(statementOf([], changes))[Symbol.asyncIterator]()
    await t.rejects(
      pieces.next(),
      { code: 'not_expressible' },
      JSON.stringify(Object.keys(changes)),
    )
  }
  const most = { openingBalance: 10n ** 18n - 1n }
  t.match(await textOf(writeCamt053(statementOf([], most))), '>9999999999999999.99<')
})

t.test('lines that change between the two readings are found', async (t) => {
  const [first, second] = fewLines
  const more = lineOf({ amount: first.amount + 1n, balanceAfter: first.balanceAfter + 1n })
  const debit = (amount: bigint, balanceAfter: bigint) =>
    lineOf({ side: 'debit', amount, balanceAfter })
  for (const [once, again, code] of [
    [[debit(2n, 99_98n)], [debit(1n, 99_99n), debit(1n, 99_98n)], 'lines_changed'],
    [[first, second], [], 'lines_changed'],
    [[first, second], [first], 'lines_changed'],
    [[first], [more], 'lines_changed'],
    [[first], [first, first], 'balance_broken'],
  ] as [StatementLine[], StatementLine[], string][]) {
    const readings = [once, again]
    const lines = async function* () {
      yield* readings.shift() as StatementLine[]
    }
    await t.rejects(textOf(writeCamt053(statementOf([], { lines }))), { code })
  }
})

async function parsed(statement: Statement) {
  const text = await textOf(writeCamt053(statement))
  const document = create({ skipWhitespaceOnlyText: false }, text)
  const [message] = elementsOf(document.root().node as unknown as XmlElement)
  return { document, statementElement: elementsOf(message)[1] }
}

/** Amounts with the sign that their direction gives them. */
function signed(element: XmlElement, path: string): string[] {
  const directions = textsAt(element, `${path}/CdtDbtInd`)
  return textsAt(element, `${path}/Amt`).map((amount, index) =>
    directions[index] === 'DBIT' ? `-${amount}` : amount,
  )
}

function onCreditSide(accountClass: AccountClass): (normal: bigint) => bigint {
  const debitNormal = accountClass === 'asset' || accountClass === 'expense'
  return (normal) => (debitNormal ? -normal : normal)
}

/** Reference, number and description of an entry, wherever they stand. */
function shownTexts(entry: XmlElement): string {
  return [
    ...textsAt(entry, `${details}/Refs/EndToEndId`),
    ...textsAt(entry, `${details}/Refs/Prtry/Ref`),
    ...textsAt(entry, `${details}/RmtInf/Ustrd`),
  ].join('')
}

function givenTexts({ reference = '', number = '', description = '' }: StatementLine): string {
  const short = [reference, number].filter((text) => text.length <= 35)
  const long = [reference, number].filter((text) => text.length > 35)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what XML does not know
  const notXml = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]/gu
  return [...short, ...long, description].join('').replace(notXml, '\ufffd')
}
