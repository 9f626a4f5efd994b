import { spawn } from 'node:child_process'
import '../plain-children.js'

/** Runs a Node program to its end, with its errors on ours. */
export function run(
  program: string,
  args: string[],
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, output }))
  })
}
