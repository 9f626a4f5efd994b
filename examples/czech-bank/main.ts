import { setMaxListeners } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasBankFiles, readBankBook } from './bank-files.js'
import type { Book } from './book.js'
import { DaybookClient } from './client.js'
import { DaybookProcess } from './daybook-process.js'
import { createAccounts, postMovements } from './import.js'
import { HELP, type Options, OptionsError, readOptions } from './options.js'
import { readable } from './progress.js'
import { makeSeededBook } from './seeded-book.js'
import { compareTotals } from './totals.js'

/** The compiled file is in dist/examples/czech-bank. */
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url))
const screen = process.stdout

process.exitCode = await main(process.argv.slice(2))

/** Answers the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const stop = new AbortController()
  // Every request that waits for its next attempt listens.
  setMaxListeners(0, stop.signal)
  // Whoever reads our output may leave early, as `head` does; Daybook is to be stopped even so.
  screen.on('error', (error) => stop.abort(error))
  const stopped = stopOnSignals(stop)
  try {
    const options = readOptions(args)
    if (options.help) {
      screen.write(HELP)
      return 0
    }
    const book = await openBook(options)
    const holds =
      options.url === undefined
        ? await runWithOwnDaybook(book, options, stop)
        : await postAndCompare(new DaybookClient(options.url, stop.signal), book, options)
    screen.write(holds ? 'All as expected.\n' : 'NOT as expected, see above.\n')
    return holds ? 0 : 1
  } catch (error) {
    return report(error, stop.signal, stopped())
  }
}

async function openBook(options: Options): Promise<Book> {
  const folder = options.dataFolder ?? join(PROJECT, '../shared/data')
  const real = !options.seeded && hasBankFiles(folder)
  if (!real && options.dataFolder !== undefined) {
    throw new OptionsError(`${folder} does not hold the bank's files`)
  }
  if (!real && !options.seeded) screen.write(`The bank's files are not in ${folder}.\n`)
  const book = real ? await readBankBook(folder) : makeSeededBook(options)
  const counts = `${readable(book.movements.length)} movements on ${readable(book.expected.size)} accounts`
  screen.write(`Posting ${book.title}: ${counts}\n`)
  return book
}

async function runWithOwnDaybook(
  book: Book,
  options: Options,
  stop: AbortController,
): Promise<boolean> {
  let daybook = await startDaybook(stop)
  let holds: boolean
  try {
    const client = new DaybookClient(daybook.url, stop.signal)
    holds = await postAndCompare(client, book, options)
    if (options.prove && holds) {
      screen.write('\nOnce more: nothing may change.\n')
      await createAccounts(client, book, screen)
      const again = await postMovements(client, book, { ...options, screen })
      if (again.accepted > 0) screen.write(`${readable(again.accepted)} were taken for new\n`)
      const compared = { posted: again, screen, showCounters: false }
      holds = (await compareTotals(client, book, compared)) && again.accepted === 0

      screen.write('\nkill -9, and start again.\n')
      await daybook.kill()
      daybook = await startDaybook(stop)
      const restarted = new DaybookClient(daybook.url, stop.signal)
      holds = (await compareTotals(restarted, book, compared)) && holds
    }
  } catch (error) {
    // The first failure is the one to tell; that Daybook then stopped badly may follow from it.
    await daybook.stop().catch(() => undefined)
    throw error
  }
  await daybook.stop()
  return holds
}

async function startDaybook(stop: AbortController): Promise<DaybookProcess> {
  const dataFolder = process.env.DAYBOOK_DATA_DIR || join(PROJECT, 'data/example')
  screen.write(`Starting Daybook on ${dataFolder} … `)
  const daybook = await DaybookProcess.start({
    dataFolder,
    signal: stop.signal,
    onLost: (error) => stop.abort(error),
  })
  screen.write(`${daybook.url}\n`)
  return daybook
}

async function postAndCompare(
  client: DaybookClient,
  book: Book,
  options: Options,
): Promise<boolean> {
  await createAccounts(client, book, screen)
  const posted = await postMovements(client, book, { ...options, screen })
  const holds = await compareTotals(client, book, { posted, screen, showCounters: true })
  if (client.retries > 0) screen.write(`${readable(client.retries)} requests were sent again\n`)
  return holds
}

/**
 * The first signal stops the run where it stands; another, a second or more later, ends the
 * process at once. (npm may pass on a Ctrl-C that the terminal has already sent us.)
 * Answers a function that tells the signal, if there was one.
 */
function stopOnSignals(stop: AbortController): () => NodeJS.Signals | undefined {
  let first: { signal: NodeJS.Signals; atMs: number } | undefined
  const onSignal = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now()
    if (first === undefined) {
      first = { signal, atMs: nowMs }
      stop.abort(new Error(`stopped by ${signal}`))
    } else if (nowMs - first.atMs > 1_000) {
      process.exit(exitCodeOf(signal))
    }
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return () => first?.signal
}

function report(error: unknown, stop: AbortSignal, signal: NodeJS.Signals | undefined): number {
  if (screen.isTTY) screen.write('\r\x1b[K')
  if (signal !== undefined) {
    screen.write('\nStopped. What was answered is kept; run it again to go on.\n')
    return exitCodeOf(signal)
  }
  // Losing Daybook explains whatever failed because of it.
  const cause: unknown = stop.aborted ? stop.reason : error
  process.stderr.write(`\n${cause instanceof Error ? cause.message : String(cause)}\n`)
  if (!(error instanceof OptionsError)) return 1
  process.stderr.write('--help lists the options.\n')
  return 2
}

function exitCodeOf(signal: NodeJS.Signals): number {
  return signal === 'SIGINT' ? 130 : 143
}
