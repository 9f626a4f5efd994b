import { systemClock } from '../clock.js'
import { Follower } from '../history/follower.js'
import { historyDatabase } from '../history/history-database.js'
import { endOtherFollower, recreateSchema } from '../history/history-store.js'
import { digestChain } from '../journal/digest.js'
import { bookAccess, journalOf, withConnection } from './book-access.js'
import { type Command, type CommandContext, type CommandWords, ExitCode } from './command.js'

/** Well before a follower whose session was ended comes back. */
const lockRetryMs = 50
const connectTimeoutMs = 10_000

export const rebuildCommand: Command = {
  name: 'rebuild',
  summary: 'drop the read models and build them again from the journal',
  help: `daybook rebuild [--resume] [--json]

Drops what the history, the lists and the searches read, and writes it again: all rows first, then
their indexes. Posting goes on meanwhile; reading the history answers 503 until it is done. When it
is broken off, a server goes on with it, slower, or this command with --resume.

  --resume   go on with what is there instead of dropping it
`,
  options: { resume: { type: 'boolean' } },
  run: runRebuild,
}

async function runRebuild(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  const access = await bookAccess(context)
  const began = Date.now()
  const follower = await Follower.open({
    database: historyDatabase(access.connectionString, connectTimeoutMs),
    store: journalOf(access, context),
    chain: digestChain(context.config.book.digestKey),
    clock: systemClock,
  })
  try {
    while (!(await follower.lock())) {
      await withConnection(access, endOtherFollower)
      await new Promise((resolve) => setTimeout(resolve, lockRetryMs))
    }
    if (!words.flags.has('resume')) await withConnection(access, recreateSchema)
    await follower.load()
    for (;;) {
      const records = await follower.step()
      const { progress } = follower
      context.progress.report('records', progress.records, progress.recordsTotal)
      if (records === 0) break
    }
    const { records } = follower.progress
    const seconds = (Date.now() - began) / 1000
    context.print(
      { records, seconds },
      () =>
        `${records} records in ${seconds.toFixed(1)} s, ${Math.round(records / seconds)} records/s\n`,
    )
    return ExitCode.fine
  } finally {
    follower.close()
  }
}
