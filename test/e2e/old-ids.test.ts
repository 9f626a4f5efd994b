import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { newKeyText } from '../../src/key.js'
import type { Json } from '../api/server.js'
import { temporaryPostgres } from '../postgres.js'
import { ServerProcess, until } from './server.js'

const daybook = fileURLToPath(new URL('../../src/cli/daybook.js', import.meta.url))
const batchSize = 4000
const batches = 6

t.setTimeout(240_000)

t.test(
  'an id that has left memory takes effect no second time, over kills and snapshots',
  async (t) => {
    const DATABASE_URL = await (await temporaryPostgres(t)).createDatabase()
    const settings = {
      DATABASE_URL,
      DAYBOOK_HISTORY: 'on',
      DAYBOOK_TRANSACTIONS_MAX: '16384',
      DAYBOOK_LOG_LEVEL: 'warn',
    }
    let server = await ServerProcess.start(t, settings)
    const ask = async (method: string, path: string, body?: unknown): Promise<Json> => {
      const response = await fetch(`${server.url}${path}`, {
        method,
        ...(body === undefined
          ? {}
          : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      })
      return {
        status: response.status,
        replayed: response.headers.get('idempotent-replayed'),
        ...((await response.json()) as Json),
      }
    }
    for (const id of ['cash', 'ada']) {
      const account = { id, currency: 'EUR', class: 'asset', overdraftLimit: 'unlimited' }
      t.equal((await ask('POST', '/v1/accounts', account)).status, 201)
    }
    const transfer = (id: string) => ({ id, debit: 'cash', credit: 'ada', amount: '1' })
    // Names, v4 and v7 ids.
    const kinds = [(index: number) => `t:${index}`, () => crypto.randomUUID(), () => newKeyText()]
    const ids = Array.from({ length: batches * batchSize }, (_, index) => kinds[index % 3](index))
    for (let from = 0; from < ids.length; from += batchSize) {
      const transactions = ids.slice(from, from + batchSize).map(transfer)
      // Memory may be full for as long as the read models take.
      await until('there is room for a batch', async () => {
        const { data } = await ask('POST', '/v1/transactions/batch', { transactions })
        return data.results.every(({ outcome }: Json) => outcome !== 'refused')
      })
    }
    await until('transactions have left memory', async () => {
      return (await server.metric('daybook_transactions_let_go')) > 4000
    })

    const assertOnce = async (when: string) => {
      for (const id of ids.slice(0, 3)) {
        await until('the read models are there', async () => {
          return (await ask('GET', `/v1/transactions/${id}`)).status !== 503
        })
        t.match(
          await ask('POST', '/v1/transactions', transfer(id)),
          { status: 200, replayed: 'true' },
          when,
        )
        const other = { ...transfer(id), amount: '2' }
        t.match(await ask('POST', '/v1/transactions', other), {
          error: { code: 'id_reused_with_different_body' },
        })
        t.match(await ask('GET', `/v1/transactions/${id}`), { status: 200 })
      }
      const { data } = await ask('GET', '/v1/accounts/cash')
      t.equal(data.balances.debitsPosted, `${ids.length}.00`, when)
    }
    await assertOnce('in the first life')
    await server.end('SIGKILL')
    server = await ServerProcess.start(t, settings)
    await assertOnce('after a start from the journal')
    await promisify(execFile)(process.execPath, [daybook, 'snapshot'], {
      env: { ...process.env, ...settings },
    })
    await server.end('SIGKILL')
    server = await ServerProcess.start(t, settings)
    await assertOnce('after a start from a snapshot')
    // The target, too, may be one that only the read models know.
    const reversal = await ask('POST', `/v1/transactions/${ids[3]}/reverse`, { id: 'reversal' })
    t.match(reversal, { status: 201 })
    await server.end('SIGKILL')
    server = await ServerProcess.start(t, settings)
    await assertOnce('after a reversal')
    const again = await ask('POST', `/v1/transactions/${ids[3]}/reverse`, { id: 'another' })
    t.match(again, { error: { code: 'already_reversed' } })
  },
)
