import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { statementFormats } from '../../../src/history/statements/statement-formats.js'
import { CountedLines, fewLines, statementOf, textOf } from './sample.js'

setFlagsFromString('--expose-gc')
/** What is measured is what cannot be freed. */
const collectGarbage = runInNewContext('gc') as () => void

/** How far a writer may read before it gives a piece: as many of our lines as make a page or 16 KB. */
const linesAheadMax = 300
const lineCount = 60_000
t.setTimeout(200_000)
/** A PDF keeps 1.4 KB of each of its 1,035 pages; the lines themselves would be 30 MB. */
const heapGrowthBytesMax = 8_000_000

for (const [name, { write }] of Object.entries(statementFormats)) {
  t.test(`${name}: ${lineCount} lines go through at the pace of a slow reader`, async (t) => {
    const source = new CountedLines(lineCount)
    const statement = statementOf([], { lines: () => source.lines() })
    let taken = 0
    let aheadMost = 0
    let readWhileNobodyAsked = 0
    let heapBefore = 0
    let heapMost = 0
    let pieces = 0
    for await (const piece of write(statement)) {
      if (piece.length === 0) t.fail('an empty piece')
      const given = source.given
      aheadMost = Math.max(aheadMost, given - taken)
      taken = given
      await new Promise(setImmediate)
      readWhileNobodyAsked += source.given - given
      pieces += 1
      if (pieces % 500 !== 100) continue
      collectGarbage()
      const { heapUsed, external } = process.memoryUsage()
      if (heapBefore === 0) heapBefore = heapUsed + external
      heapMost = Math.max(heapMost, heapUsed + external)
    }
    t.equal(source.given, lineCount)
    t.equal(readWhileNobodyAsked, 0)
    t.ok(aheadMost <= linesAheadMax, `at most ${aheadMost} lines ahead`)
    t.ok(heapMost > 0)
    t.ok(heapMost - heapBefore < heapGrowthBytesMax, `the heap grew by ${heapMost - heapBefore}`)
  })

  t.test(`${name}: who stops reading ends the reading of lines`, async (t) => {
    const source = new CountedLines(2000)
    for await (const _ of write(statementOf([], { lines: () => source.lines() }))) {
      if (source.given > 0) break
    }
    t.equal(source.open, 0)
    t.ok(source.given <= linesAheadMax)
  })

  t.test(`${name}: a line that does not follow ends it with an error`, async (t) => {
    const [first, , third] = fewLines
    await t.rejects(textOf(write(statementOf([first, third]))), { code: 'balance_broken' })
  })

  t.test(`${name}: an error of whoever reads the lines comes through`, async (t) => {
    const lines = async function* () {
      yield fewLines[0]
      throw new RangeError('the database is away')
    }
    await t.rejects(textOf(write(statementOf([], { lines }))), { message: 'the database is away' })
  })
}
