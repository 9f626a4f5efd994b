import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

/** What we read of a V8 CPU profile. Times are microseconds. */
interface CpuProfile {
  nodes: {
    id: number
    callFrame: { functionName: string; url: string; lineNumber: number }
  }[]
  samples: number[]
  timeDeltas: number[]
}

const LINES = 30

/**
 * `node dist/bench/profile.js FOLDER`: for each thread's profile in the folder, the functions that
 * took most time themselves, as shares of the time that the thread was not idle.
 */
function main(): void {
  const folder = process.argv[2] ?? '.'
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'))) {
    const profile: CpuProfile = JSON.parse(readFileSync(join(folder, name), 'utf8'))
    process.stdout.write(`${renderProfile(name, profile)}\n\n`)
  }
}

function renderProfile(name: string, profile: CpuProfile): string {
  const places = new Map(profile.nodes.map((node) => [node.id, describePlace(node.callFrame)]))
  const times = new Map<string, number>()
  profile.samples.forEach((node, index) => {
    const place = places.get(node) ?? 'unknown'
    times.set(place, (times.get(place) ?? 0) + profile.timeDeltas[index])
  })
  const idle = times.get('(idle)') ?? 0
  times.delete('(idle)')
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0)
  const head = `${name}: busy ${(busy / 1e6).toFixed(1)} s, idle ${(idle / 1e6).toFixed(1)} s`
  const lines = [...times]
    .sort(([, one], [, other]) => other - one)
    .slice(0, LINES)
    .map(([place, time]) => `${((100 * time) / busy).toFixed(1).padStart(6)} %  ${place}`)
  return [head, ...lines].join('\n')
}

function describePlace(frame: CpuProfile['nodes'][number]['callFrame']): string {
  if (frame.url === '') return frame.functionName
  const path = frame.url.startsWith('file://')
    ? relative(process.cwd(), frame.url.slice('file://'.length))
    : frame.url
  return `${frame.functionName || '(anonymous)'} ${path}:${frame.lineNumber + 1}`
}

main()
