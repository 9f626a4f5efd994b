// The compiler copies no SQL: put it beside the compiled code that reads it.
import { cpSync } from 'node:fs'

for (const folder of ['journal/migrations', 'history']) {
  cpSync(`src/${folder}`, `dist/src/${folder}`, {
    recursive: true,
    filter: (path) => !path.endsWith('.ts'),
  })
}
