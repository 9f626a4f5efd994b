import fc from 'fast-check'
import { type AccountClass, accountClasses } from '../../../src/actors/accounts.js'
import type { Statement, StatementLine } from '../../../src/history/statements/statement.js'

export const transaction = '0190a1b2-0000-7000-8000-000000000001'
export const counterAccount = '0190a1b2-0000-7000-8000-000000000002'

/** A customer's account in euros with 100.00 at the beginning, and the given lines. */
export function statementOf(lines: StatementLine[], changes: Partial<Statement> = {}): Statement {
  return {
    id: '0190a1b2-0000-7000-8000-00000000000a',
    sequenceNumber: 7,
    servicer: { name: 'Bank & Sons', bic: 'ABCDDEFF' },
    account: {
      id: '0190a1b2-0000-7000-8000-000000000003',
      name: 'Current account',
      number: 'DE89 3704 0044 0532 0130 00',
      owner: 'Jo Doe',
      ...{ currency: 'EUR', scale: 2, class: 'liability' as const },
    },
    ...{ from: '2026-01-01', to: '2026-01-31', createdAtMs: Date.UTC(2026, 1, 1, 6, 30) },
    openingBalance: 100_00n,
    lines: async function* () {
      yield* lines
    },
    ...changes,
  }
}

export function lineOf(changes: Partial<StatementLine>): StatementLine {
  return {
    ...{ position: '1-17', transaction, side: 'credit', amount: 1n, balanceAfter: 1n },
    ...{ effectiveDate: '2026-01-05', recordedAtMs: Date.UTC(2026, 0, 5, 12) },
    counterAccount,
    ...changes,
  }
}

/** A salary, a rent with everything there is to say about it, and a reversal: -50.50 at the end. */
export const fewLines: StatementLine[] = [
  lineOf({ amount: 2_000_00n, balanceAfter: 2_100_00n, type: 'transaction' }),
  lineOf({
    ...{ position: '2-3', side: 'debit', amount: 2_150_75n, balanceAfter: -50_75n },
    ...{ effectiveDate: '2026-01-06', type: 'transaction', reference: 'R-1', code: 42 },
    ...{ description: 'Rent, "January"', category: 'housing', number: 'N-9' },
  }),
  lineOf({ position: '1-18', amount: 25n, balanceAfter: -50_50n, type: 'reversal' }),
]

/** Lines made one at a time; counts those of the last reading. */
export class CountedLines {
  readonly #count: number
  given = 0
  open = 0

  constructor(count: number) {
    this.#count = count
  }

  async *lines(): AsyncIterable<StatementLine> {
    this.given = 0
    this.open += 1
    try {
      const payment = lineOf({})
      let balanceAfter = 100_00n
      for (let seq = 1; seq <= this.#count; seq++) {
        const side = seq % 2 === 0 ? 'debit' : 'credit'
        balanceAfter += side === 'credit' ? 3n : -2n
        this.given += 1
        const amount = side === 'credit' ? 3n : 2n
        const texts = { description: `Payment ${seq}`, reference: `R-${seq}` }
        yield { ...payment, position: `1-${seq}`, side, amount, balanceAfter, ...texts }
      }
    } finally {
      this.open -= 1
    }
  }
}

/** Text as people and attackers write it. */
export const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...'=+-@"\',;|\t\r\n &<>]'),
    fc.constantFrom('\u0000', '\u001f', '\ufffe', '\ud800', '＝', 'ř', '€', '漢', '😀', '&amp;'),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
  maxLength: 200,
})

const posting = fc.record({
  side: fc.constantFrom('debit' as const, 'credit' as const),
  amount: fc.bigInt({ min: 1n, max: 10n ** 15n }),
  reference: fc.option(anyText, { nil: undefined }),
  description: fc.option(anyText, { nil: undefined }),
  category: fc.option(anyText, { nil: undefined }),
  number: fc.option(anyText, { nil: undefined }),
  type: fc.constantFrom(undefined, 'transaction', 'reversal', 'x'.repeat(64)),
  code: fc.option(fc.integer({ min: 0, max: 4_294_967_295 }), { nil: undefined }),
})

export interface RandomStatement {
  statement: Statement
  lines: StatementLine[]
  /** What it comes to on the normal side, computed in one go. */
  closing: bigint
}

/** A statement of an account of any class and scale whose lines add up. */
export const anyStatement: fc.Arbitrary<RandomStatement> = fc
  .record({
    accountClass: fc.constantFrom(...accountClasses),
    scale: fc.integer({ min: 0, max: 5 }),
    opening: fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }),
    postings: fc.array(posting, { maxLength: 8 }),
  })
  .map(({ accountClass, scale, opening, postings }) => {
    const effect = ({ side, amount }: { side: string; amount: bigint }) =>
      side === growingSide(accountClass) ? amount : -amount
    let balanceAfter = opening
    const lines = postings.map((posting, index) => {
      balanceAfter += effect(posting)
      return lineOf({ ...posting, position: `1-${index + 1}`, balanceAfter })
    })
    const { account } = statementOf([])
    const statement = statementOf(lines, {
      account: { ...account, class: accountClass, scale },
      openingBalance: opening,
    })
    return { statement, lines, closing: postings.map(effect).reduce((a, b) => a + b, opening) }
  })

function growingSide(accountClass: AccountClass): 'debit' | 'credit' {
  return accountClass === 'asset' || accountClass === 'expense' ? 'debit' : 'credit'
}

export async function bytesOf(pieces: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const piece of pieces) chunks.push(Buffer.from(piece as string))
  return Buffer.concat(chunks)
}

export async function textOf(pieces: AsyncIterable<Buffer | string>): Promise<string> {
  return (await bytesOf(pieces)).toString('utf8')
}
