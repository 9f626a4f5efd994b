import type { ParseArgsConfig } from 'node:util'
import type { Config } from '../config.js'
import type { Progress } from './progress.js'

/** What the process ends with; an operator's scripts rely on these. */
export const ExitCode = {
  fine: 0,
  failed: 1,
  usage: 2,
  /** What was looked at is damaged. */
  damaged: 4,
  interrupted: 130,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** One command of `daybook`, in a file of its own. */
export interface Command {
  name: string
  /** One line for the list of commands. */
  summary: string
  /** What `daybook <name> --help` says. */
  help: string
  options: NonNullable<ParseArgsConfig['options']>
  run(words: CommandWords, context: CommandContext): Promise<ExitCode>
}

/** What stood behind the name of the command. */
export interface CommandWords {
  /** Values of options that take one. */
  values: Record<string, string | undefined>
  flags: ReadonlySet<string>
  positionals: string[]
}

export interface CommandContext {
  config: Config
  /** One JSON document is wanted on standard output. */
  json: boolean
  progress: Progress
  /** Writes a line for the operator to standard error. */
  log(message: string): void
  /** Writes the result: as JSON if that is wanted, else as text. */
  print(result: object, text: () => string): void
  /** Something to be ended before the process ends, whether it is interrupted or not. */
  onEnd(task: () => Promise<void>): void
}

/** The words of a command line that are wrong; the message says which and why. */
export class UsageError extends Error {
  readonly code = 'usage'
}
