import { refusals } from '../actors/refusals.js'
import { systemClock } from '../clock.js'
import { CurrencyList } from '../currency.js'
import { serverMetrics } from '../metrics.js'
import { notStarted } from '../start-progress.js'
import { buildServer } from './server.js'
import { type ErrorCode, errorKinds } from './statuses.js'

/** The pages that are generated from the code and kept in the repository: text by file name. */
export async function apiPages(): Promise<Record<string, string>> {
  return {
    'openapi.json': `${formatJson(await openapiDocument(), '')}\n`,
    'docs/api-errors.md': errorsPage(),
  }
}

/** The OpenAPI document of the routes, made without a node behind them. */
async function openapiDocument(): Promise<object> {
  const status = { phase: 'created', ...notStarted } as const
  const app = await buildServer(
    {
      clock: systemClock,
      currencies: new CurrencyList([]),
      servicer: { name: 'Daybook' },
      serving: () => undefined,
    },
    {
      status: () => status,
      shardMetrics: async () => [],
      digestOf: async () => undefined,
      metrics: serverMetrics({ router: () => undefined }),
    },
    { logger: undefined, logRequests: false, logSlowMs: 1, logSample: 0, bodyTimeoutMs: 1000 },
  )
  await app.ready()
  const document = app.swagger()
  await app.close()
  return document
}

const widthMax = 100

/** JSON as the formatter of this repository wants it: lists of plain values on one line if they fit. */
function formatJson(value: unknown, indent: string, nameLength = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const inner = `${indent}  `
  if (Array.isArray(value)) {
    const entries = value.map((entry) => formatJson(entry, inner))
    const line = `[${entries.join(', ')}]`
    const plain = value.every((entry) => typeof entry !== 'object')
    if (plain && indent.length + nameLength + line.length < widthMax) return line
    return `[\n${entries.map((entry) => inner + entry).join(',\n')}\n${indent}]`
  }
  const fields = Object.entries(value).filter(([, entry]) => entry !== undefined)
  if (fields.length === 0) return '{}'
  const lines = fields.map(([name, entry]) => {
    const start = `${JSON.stringify(name)}: `
    return `${inner}${start}${formatJson(entry, inner, start.length)}`
  })
  return `{\n${lines.join(',\n')}\n${indent}}`
}

const header = `# Error codes

Every answer that is not a success has one shape:

\`\`\`json
{
  "error": {
    "code": "insufficient_funds",
    "message": "the available balance does not cover the amount",
    "details": { "transient": false, "posting": 0 },
    "timestamp": "2026-01-31T12:00:00.000Z",
    "path": "/v1/transactions",
    "correlationId": "0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d"
  }
}
\`\`\`

Codes are stable; messages are for people and may change. \`details.field\` names the field, parameter
or header that is wrong (such as \`transactions/3/amount\`), \`details.posting\` the posting that a refusal
is about, \`details.index\` the item of an atomic batch.

A **transient** error may turn into a success by itself: send the same request again, with the same
id. A **final** one stays until somebody changes something. Neither uses up the id. Only after
\`outcome_unknown\` the command may have taken effect; the same id and body tells.

This page is made from \`src/api/statuses.ts\` and \`src/actors/refusals.ts\` by \`npm run openapi\`.
`

/** The table of every error code; refusals in the order in which they are checked. */
function errorsPage(): string {
  const numbers = new Map<string, number>(refusals.map(({ code, number }) => [code, number]))
  const codes = Object.keys(errorKinds) as ErrorCode[]
  const requests = codes.filter((code) => !numbers.has(code))
  const kind = (code: ErrorCode) => (errorKinds[code].transient ? 'transient' : 'final')
  const rows = requests.map(
    (code) =>
      `| \`${code}\` | ${errorKinds[code].status} | ${kind(code)} | ${errorKinds[code].meaning} |`,
  )
  const refusalRows = refusals.map(
    ({ code, number, message }) =>
      `| ${number} | \`${code}\` | ${errorKinds[code].status} | ${kind(code)} | ${message} |`,
  )
  return [
    header,
    '## Requests\n',
    'What stops a request before the ledger decides, or its answer after it.\n',
    '| code | status | | meaning |',
    '|---|---|---|---|',
    ...rows,
    '\n## Refusals\n',
    'What the ledger decides, checked in this order: the first that applies is the answer. An item of',
    'a batch that is not atomic carries the same codes in its result; the number is that of the binary',
    'answer.\n',
    '| number | code | status | | meaning |',
    '|---|---|---|---|---|',
    ...refusalRows,
    '',
  ].join('\n')
}
