import t from 'tap'
import { Load } from '../e2e/load.js'
import { ServerProcess } from '../e2e/server.js'
import { temporaryPostgres } from '../postgres.js'
import { daybook } from './command-line.js'

t.setTimeout(180_000)

const postgres = await temporaryPostgres(t)

t.test('a server is compared with its journal while it posts', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const server = await ServerProcess.start(t, { DATABASE_URL, DAYBOOK_SHARDS: '2' })
  const load = new Load({ connections: 2 })
  await load.open(server.url)
  load.start(server.url)
  await load.acknowledged(50)
  const words = ['verify', '--server', server.url, '--json']
  const { code, stdout, stderr } = await daybook(words, { DATABASE_URL })
  await load.stop()
  t.equal(code, 0, stderr)
  const result = JSON.parse(stdout)
  t.match(result, { findings: [], snapshotFindings: [], liveFindings: [] })
  t.match(result.digest, /^[0-9a-f]{64}$/)
  t.ok(load.log.counts.acknowledged > 50, 'it went on meanwhile')
})

t.test('an address that is none, or nobody there, is said', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const server = await ServerProcess.start(t, { DATABASE_URL })
  const wrong = await daybook(['verify', '--server', 'somewhere'], { DATABASE_URL })
  t.equal(wrong.code, 2)
  t.match(wrong.stderr, '--server must be an address')
  const { url } = server
  await server.end('SIGKILL')
  const gone = await daybook(['verify', '--server', url], { DATABASE_URL })
  t.equal(gone.code, 1)
})

t.test('the digest of a slot has an answer to bad input', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const { url } = await ServerProcess.start(t, { DATABASE_URL, DAYBOOK_SHARDS: '2' })
  const get = async (words: string) => await fetch(`${url}/v1/system/digest?${words}`)
  t.equal((await get('stream=2&slot=5')).status, 200)
  t.equal((await get('stream=2')).status, 200)
  for (const words of [
    '',
    'stream=x',
    'stream=2&slot=1024',
    'stream=2&slot=-1',
    'stream=2&more=1',
  ]) {
    const response = await get(words)
    t.equal(response.status, 400, words)
    t.equal(((await response.json()) as { error: { code: string } }).error.code, 'invalid_request')
  }
  const elsewhere = await get('stream=1')
  t.equal(elsewhere.status, 503, 'a stream of an earlier generation is not served')
})
