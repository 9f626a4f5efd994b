import t from 'tap'
import { randomOf } from '../actors/random.js'
import { startApi } from '../api/server.js'
import { historyRows } from '../history/history-rows.js'
import { runWorkload } from '../history/workload.js'
import { daybook } from './command-line.js'

t.setTimeout(120_000)

t.test('what is rebuilt beside a server is what the server had written', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_HISTORY: 'on', DAYBOOK_SHARDS: '2' } })
  const settings = { DATABASE_URL: api.databaseUrl }
  const { position } = await runWorkload(api, randomOf(5), 150)
  const read = () => api.get(`/v1/transactions?minPosition=${position}`)
  while ((await read()).status === 503);
  const before = await historyRows(t, api.databaseUrl)
  const rebuilt = await daybook(['rebuild', '--json'], settings)
  t.equal(rebuilt.code, 0, rebuilt.stderr)
  t.ok(JSON.parse(rebuilt.stdout).records > 100)
  t.same(await historyRows(t, api.databaseUrl), before)
  // The server has lost its session to the command, and follows again.
  const later = await api.post('/v1/transactions', {
    ...{ debit: 'account:0', credit: 'account:4', amount: '1.00' },
  })
  const path = `/v1/transactions?limit=1&minPosition=${later.json.meta.position}`
  let answer = await api.get(path)
  while (answer.status === 503) answer = await api.get(path)
  t.equal(answer.json.data[0].id, later.json.data.id)
  const resumed = await daybook(['rebuild', '--resume'], settings)
  t.match(resumed.stdout, /^\d+ records in /)
})
