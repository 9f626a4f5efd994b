#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { ConfigError, readConfig } from '../config.js'
import { archiveCommand } from './archive.js'
import { type Command, type CommandWords, ExitCode, UsageError } from './command.js'
import { inspectCommand } from './inspect.js'
import { Progress } from './progress.js'
import { pruneCommand } from './prune.js'
import { rebuildCommand } from './rebuild.js'
import { restoreCommand } from './restore.js'
import { withoutPasswords } from './secrets.js'
import { snapshotCommand } from './snapshot.js'
import { snapshotsCommand } from './snapshots.js'
import { verifyCommand } from './verify.js'

const commands: readonly Command[] = [
  inspectCommand,
  snapshotCommand,
  snapshotsCommand,
  pruneCommand,
  verifyCommand,
  restoreCommand,
  archiveCommand,
  rebuildCommand,
]

const endings: (() => Promise<void>)[] = []
let isInterrupted = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
// A pager that is closed early is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? ExitCode.fine : ExitCode.failed)
})

const code = await main(process.argv.slice(2)).catch((error: Error) => {
  if (isInterrupted) return ExitCode.interrupted
  const isWrong = error instanceof UsageError || error instanceof ConfigError
  process.stderr.write(`daybook: ${withoutPasswords(error.message)}\n`)
  if (process.env.DAYBOOK_LOG_LEVEL === 'debug') {
    process.stderr.write(`${withoutPasswords(error.stack ?? '')}\n`)
  }
  return isWrong ? ExitCode.usage : ExitCode.failed
})
// Who interrupted it waits for the same endings, and says another number.
if (!isInterrupted) await end(code)

/** Stops at once: what a command has half done does not count, and its connections break. */
function interrupt(): void {
  // Who asks twice does not want to wait for anything.
  if (isInterrupted) process.exit(ExitCode.interrupted)
  isInterrupted = true
  process.stderr.write('\ndaybook: interrupted\n')
  void end(ExitCode.interrupted)
}

async function end(code: ExitCode): Promise<never> {
  for (const task of endings.reverse()) {
    await task().catch((error: Error) => {
      process.stderr.write(`daybook: ${withoutPasswords(error.message)}\n`)
    })
  }
  await new Promise((resolve) => {
    process.stdout.write('', resolve)
  })
  process.exit(code)
}

async function main(words: string[]): Promise<ExitCode> {
  const [name, ...rest] = words
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const asked = commands.find((command) => command.name === rest[0])
    process.stdout.write(asked === undefined ? usage() : asked.help)
    return name === undefined ? ExitCode.usage : ExitCode.fine
  }
  const command = commands.find((candidate) => candidate.name === name)
  if (command === undefined) {
    throw new UsageError(`there is no command ${JSON.stringify(name)}; see daybook --help`)
  }
  const parsed = parse(command, rest)
  if (parsed.flags.has('help')) {
    process.stdout.write(command.help)
    return ExitCode.fine
  }
  const json = parsed.flags.has('json')
  return await command.run(parsed, {
    config: readConfig(process.env),
    json,
    progress: new Progress(),
    log: (message) => void process.stderr.write(`${withoutPasswords(message)}\n`),
    print: (result, text) => {
      process.stdout.write(json ? `${JSON.stringify(result, undefined, 2)}\n` : text())
    },
    onEnd: (task) => void endings.push(task),
  })
}

function parse(command: Command, words: string[]): CommandWords {
  try {
    const { values, positionals } = parseArgs({
      args: words,
      allowPositionals: true,
      options: {
        ...command.options,
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    const parsed: CommandWords = { values: {}, flags: new Set(), positionals }
    const flags = new Set<string>()
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === 'string') parsed.values[name] = value
      else if (value === true) flags.add(name)
    }
    return { ...parsed, flags }
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; see daybook ${command.name} --help`)
  }
}

function usage(): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  const list = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
  return `daybook <command> [options]

${list.join('\n')}

  daybook <command> --help   what it does, and its options
  --json                     one JSON document on standard output, for every command

The database is the one of DATABASE_URL, else the embedded one of DAYBOOK_DATA_DIR, which is started
if no server runs. All settings of the server hold, above all DAYBOOK_DIGEST_KEY.

It ends with 0 if all went well, 1 if it failed, 2 if the command line or a setting is wrong, 4 if
what it looked at is damaged, 130 if it was interrupted.
`
}
