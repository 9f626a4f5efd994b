import { execFileSync } from 'node:child_process'
import { cpus, release, type as systemName, totalmem } from 'node:os'

/** What a figure means nothing without. */
export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  kernel: string
  node: string
  /** Short hash of the commit, with `+` if files differ from it. */
  commit: string
}

export function describeMachine(): Machine {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${systemName()} ${release()}`,
    node: process.version,
    commit: commit(),
  }
}

function commit(): string {
  try {
    const hash = git('rev-parse', '--short=12', 'HEAD')
    // The results themselves are written after the commit that they name.
    const results = [':!bench/*results.*', ':!docs/reliability-faults.*']
    const changed = git('status', '--porcelain', '--', '.', ...results)
    return changed === '' ? hash : `${hash}+`
  } catch {
    return 'not committed'
  }
}

function git(...words: string[]): string {
  return execFileSync('git', words, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim()
}
