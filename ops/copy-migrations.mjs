// The compiler copies no SQL: put the migrations beside the compiled code that reads them.
import { cpSync } from 'node:fs'

cpSync('src/journal/migrations', 'dist/src/journal/migrations', { recursive: true })
