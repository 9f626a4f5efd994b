import t, { type Test } from 'tap'
import { batches, binaries, packed } from './bad-batches.js'
import { bodies, duplicates } from './bad-bodies.js'
import { amounts, fields, metadata } from './bad-fields.js'
import { accounts, changes, followUps, headers, routes } from './bad-requests.js'
import { type Answer, startApi } from './server.js'
import { watch } from './watch.js'

t.setTimeout(120_000)

const table = [
  amounts,
  fields,
  metadata,
  bodies,
  duplicates,
  batches,
  packed,
  binaries,
  headers,
  routes,
  accounts,
  changes,
  followUps,
].flat()

t.test(
  'every bad request gets a clear 4xx that names the field, and changes nothing',
  async (t) => {
    const api = await startApi(t)
    const goesOn = await watch(api)
    for (const row of table) {
      const { name, method = 'POST', path = '/v1/transactions', body, headers } = row
      const answer = await api.call(method, path, { body, headers })
      t.equal(answer.status, row.status, `${name}: ${row.status}`, { answer: answer.json })
      const error = assertErrorShape(t, name, path, answer)
      t.equal(error.code, row.code, `${name}: ${row.code}`, { error })
      t.equal(error.details.field, row.field, `${name}: names ${row.field}`, { error })
      if (row.message !== undefined) t.match(error.message, row.message, name)
      t.equal(await goesOn(), 'goes on', `${name}: the server goes on`)
    }
    t.notMatch(api.logs.join(''), /"level":(50|60)/, 'nothing of it is a fault of the server')
  },
)

function assertErrorShape(t: Test, name: string, path: string, answer: Answer) {
  const { error } = answer.json
  t.same(
    Object.keys(error),
    ['code', 'message', 'details', 'timestamp', 'path', 'correlationId'],
    `${name}: the shape of errors`,
  )
  t.equal(error.path, path.split('?')[0], `${name}: the path`)
  t.equal(answer.headers.get('x-correlation-id'), error.correlationId, `${name}: correlation id`)
  t.ok(answer.bytes.length < 4000, `${name}: a short answer`)
  return error
}
