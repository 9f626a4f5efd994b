import t from 'tap'
import { roundsOr } from '../e2e/rounds.js'
import { offDomain } from '../off-domain.js'
import { temporaryPostgres } from '../postgres.js'
import { type ProtocolStep, protocolSteps } from './protocol-step-table.js'
import { ReadingSessions } from './reading-sessions.js'
import { StepBook } from './step-book.js'
import { type CommandKind, commandKinds, isAlwaysRefused } from './step-commands.js'

t.setTimeout(1_800_000)

/** As a rule each step meets each command that comes by there, and is met this often at least. */
const roundsMin = 5
const isShort = roundsOr(roundsMin) < roundsMin
const roundsPerBook = 8
/** Books beside each other, each in a database of its own: they mostly wait for Postgres. */
const lanes = 5

interface Round {
  step: ProtocolStep
  kind: CommandKind
}

t.test('whatever step of the protocol a process dies at, all is there or none', async (t) => {
  offDomain(t)
  const postgres = await temporaryPostgres(t)
  const seed = Number(process.env.DAYBOOK_TEST_SEED ?? 20240307)
  const hits = new Map<string, number>()
  const fates = new Map<string, number>()
  const books = booksOf()
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      const connectionString = await postgres.createDatabase()
      const sessions = new ReadingSessions()
      try {
        for (let next = books.shift(); next !== undefined; next = books.shift()) {
          await runBook(connectionString, sessions, { ...next, seed: seed + next.number })
        }
      } finally {
        sessions.close()
      }
    }),
  )

  for (const step of protocolSteps) {
    const count = hits.get(step.name) ?? 0
    t.ok(count >= roundsOf(step), `${step.name}: ${count}`)
  }
  // A short run has not the time to meet them all.
  for (const kind of isShort ? [] : commandKinds.filter((each) => !isWithoutFate(each))) {
    t.ok(fates.has(`${kind}: lost`), `a crash has cut off a ${kind}`)
    if (isAlwaysRefused(kind)) t.notOk(fates.has(`${kind}: durable`), `no ${kind} takes effect`)
    else t.ok(fates.has(`${kind}: durable`), `a ${kind} was durable and not answered`)
  }
  t.comment(
    [...fates]
      .map(([fate, count]) => `${fate} ${count}`)
      .sort()
      .join(', '),
  )

  async function runBook(
    connectionString: string,
    sessions: ReadingSessions,
    { number, seed, rounds }: { number: number; seed: number; rounds: Round[] },
  ): Promise<void> {
    let now = 'at its start'
    const book = await StepBook.open({ connectionString, seed, sessions, fates })
    try {
      for (const { step, kind } of rounds) {
        now = `${step.name}, ${kind}`
        await book.crash(step, kind)
        hits.set(step.name, (hits.get(step.name) ?? 0) + 1)
      }
      now = 'at its end'
      await book.assertViews()
    } catch (error) {
      const { stack } = error as Error
      throw new Error(`book ${number} of DAYBOOK_TEST_SEED=${seed - number}, ${now}: ${stack}`)
    } finally {
      await book.close()
    }
  }
})

/** A change may be made twice, and an expiry has no answer. */
function isWithoutFate(kind: CommandKind): boolean {
  return kind === 'striped change' || kind === 'expiry'
}

function roundsOf({ kinds }: ProtocolStep): number {
  return roundsOr(Math.max(roundsMin, kinds.length))
}

/** Every step in its rounds, each time with the next of the commands that come by there. */
function booksOf(): { number: number; rounds: Round[] }[] {
  const most = Math.max(...protocolSteps.map(roundsOf))
  const all = Array.from({ length: most }, (_, round) =>
    protocolSteps
      .filter((step) => round < roundsOf(step))
      .map((step) => ({ step, kind: step.kinds[round % step.kinds.length] })),
  ).flat()
  const count = Math.ceil(all.length / roundsPerBook)
  return Array.from({ length: count }, (_, number) => ({
    number,
    rounds: all.slice(number * roundsPerBook, (number + 1) * roundsPerBook),
  }))
}
