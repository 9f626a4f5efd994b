import { writeFileSync } from 'node:fs'
import { apiPages } from '../api/api-pages.js'

/** Writes openapi.json and docs/api-errors.md from the code; run it in the root of the project. */
for (const [name, text] of Object.entries(await apiPages())) {
  writeFileSync(name, text)
  process.stdout.write(`${name} is written\n`)
}
