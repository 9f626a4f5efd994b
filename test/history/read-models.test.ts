import pg from 'pg'
import t from 'tap'
import { formatMinor } from '../../src/money.js'
import { randomOf } from '../actors/random.js'
import { type ApiServer, type Json, startApi } from '../api/server.js'
import { type Done, runWorkload } from './workload.js'

const dayMs = 86_400_000

for (const shards of ['1', '3']) {
  t.test(`with ${shards} shards the read models say what the actors say`, async (t) => {
    const environment = { DAYBOOK_HISTORY: 'on', DAYBOOK_SHARDS: shards }
    const api = await startApi(t, { environment })
    const done = await runWorkload(api, randomOf(Number(shards)), 300)
    await t.test('entries end with the live balance, and add up', async (t) => {
      for (const account of done.accounts) {
        const live = (await api.get(`/v1/accounts/${account}`)).json.data
        const entries = await pages(api, `/v1/accounts/${account}/entries`, 'order=asc', done)
        let balance = 0n
        for (const entry of entries) {
          balance += entry.side === live.normalSide ? cents(entry.amount) : -cents(entry.amount)
          if (cents(entry.balance) !== balance) t.same(entry, { balance })
        }
        t.equal(balance, cents(live.balances.balance), live.name)
        const moved = sumOf(entries.filter(({ side }) => side === 'debit'))
        t.equal(moved, cents(live.balances.debitsPosted), 'all debits')
        const reversed = await pages(api, `/v1/accounts/${account}/entries`, '', done)
        t.same(reversed, entries.toReversed(), 'newest first, the same entries')
        const { json } = await api.get(`/v1/accounts/${account}/balance?at=9999-12-30`)
        t.equal(json.data.balance, live.balances.balance, 'by effective date')
        const now = await api.get(`/v1/accounts/${account}/balance?at=2999-01-01T00:00:00Z`)
        t.equal(now.json.data.balance, live.balances.balance, 'by recorded time')
        const before = await api.get(`/v1/accounts/${account}/balance?at=2020-01-01T00:00:00Z`)
        t.equal(before.json.data.balance, '0.00')
      }
    })

    await t.test('a statement closes with the live balance, in every format', async (t) => {
      for (const account of done.accounts) {
        const live = (await api.get(`/v1/accounts/${account}`)).json.data
        const path = `/v1/accounts/${account}/statement?from=2020-01-01&to=2999-12-31`
        const { json } = await api.get(path)
        t.equal(json.openingBalance, '0.00')
        t.equal(json.closingBalance, live.balances.balance)
        const entries = await pages(api, `/v1/accounts/${account}/entries`, 'order=asc', done)
        t.equal(json.lines.length, entries.length)
        const csv = (await api.get(`${path}&format=csv`)).bytes.toString()
        const opened = csv.split('\r\n').length - 4
        t.equal(opened, entries.length, 'beside head, opening, closing and the last line end')
        const xml = await api.get(`${path}&format=camt053`)
        t.equal(xml.bytes.toString().match(/<Ntry>/g)?.length ?? 0, entries.length)
        t.match(xml.headers.get('content-type'), 'application/xml')
        const pdf = await api.get(`${path}&format=pdf`)
        t.equal(pdf.bytes.subarray(0, 5).toString(), '%PDF-')
        t.match(pdf.headers.get('content-disposition'), '.pdf"')
      }
    })

    await t.test('the list of accounts has each of them with its balance', async (t) => {
      const listed = await pages(api, '/v1/accounts', '', done)
      t.same(listed.map(({ id }) => id).sort(), done.accounts.toSorted())
      for (const account of listed) {
        const live = (await api.get(`/v1/accounts/${account.id}`)).json.data
        const { balances, normalSide: _, version: __, position: ___, ...expected } = live
        t.same(account, { ...expected, balance: balances.balance })
      }
      const striped = await pages(api, '/v1/accounts', 'class=income', done)
      t.same(
        striped,
        listed.filter((account) => account.class === 'income'),
      )
    })

    await t.test('the list has every transaction, as it is when it is read alone', async (t) => {
      const listed = await pages(api, '/v1/transactions', '', done)
      t.same(listed.map(({ id }) => id).sort(), done.transactions.toSorted(), 'each of them once')
      for (const transaction of listed) {
        const { json } = await api.get(`/v1/transactions/${transaction.id}`)
        const { balances: _, remaining, recordedAt, ...alone } = json.data
        const { remaining: left, recordedAt: listedAt, ...shown } = transaction
        // Alone, a hold says what it still reserves for as long as it is pending.
        t.same(shown, alone)
        // That of an atomic batch may have been decided in another stream, a moment before.
        t.ok(listedAt >= recordedAt)
        if (remaining !== undefined) t.same(left, remaining)
      }
    })

    await t.test('transactions of an account are those with it in a posting', async (t) => {
      const listed = await pages(api, '/v1/transactions', '', done)
      for (const account of done.accounts.slice(0, 4)) {
        const of = await pages(api, '/v1/transactions', `account=${account}`, done)
        const expected = listed.filter(({ postings }) =>
          postings.some(({ debit, credit }: Json) => debit === account || credit === account),
        )
        t.same(of, expected)
      }
    })

    await t.test('balances by day add up what took effect, whenever it was recorded', async (t) => {
      const client = new pg.Client({ connectionString: api.databaseUrl })
      await client.connect()
      t.teardown(() => client.end())
      await spreadOverDays(client)
      const { rows: entries } = await client.query<EntryRow>(
        'select account, amount, effective_date::text as day from daybook_history.entry',
      )
      const today = Math.floor(Date.now() / dayMs)
      const path = (account: string, asked: string) => `/v1/accounts/${account}/balances?${asked}`
      for (const account of done.accounts) {
        const own = entries.filter((entry) => entry.account === account)
        for (const [first, last] of [
          [-20, 20],
          [-6, -2],
          [-3, -3],
          [-1, 4],
        ]) {
          const asked = `from=${dateOf(today + first)}&to=${dateOf(today + last)}`
          const { json } = await api.get(path(account, asked))
          const days = Array.from({ length: last - first + 1 }, (_, at) =>
            dateOf(today + first + at),
          )
          t.same(json.data.days, daysOf(own, json.data.class, days), `${account}: ${asked}`)
          const before = daysOf(own, json.data.class, [dateOf(today + first - 1)])[0]
          t.equal(json.data.openingBalance, before.balance)
          const moved = await api.get(path(account, `${asked}&every=movement`))
          t.same(
            moved.json.data.days,
            json.data.days.filter(
              ({ debits, credits }: Json) => cents(debits) + cents(credits) > 0n,
            ),
          )
        }
      }
    })
  })
}

interface EntryRow {
  account: string
  amount: string
  day: string
}

/** As if what was recorded today had been recorded over some days, in the same order. */
async function spreadOverDays(client: pg.Client): Promise<void> {
  await client.query(`select daybook_history.ensure_month((now() - interval '9 days')::date)`)
  await client.query(
    `update daybook_history.entry e set recorded_at = e.recorded_at
       - make_interval(days => ((last.seq - e.seq) * 9 / last.seq)::int)
     from (select stream, max(seq) as seq from daybook_history.entry group by stream) last
     where last.stream = e.stream`,
  )
  await client.query(
    `update daybook_history.entry
     set dated = (recorded_at at time zone 'UTC')::date <> effective_date`,
  )
}

/** What the entries of an account say of some days. */
function daysOf(entries: readonly EntryRow[], accountClass: string, days: string[]): Json[] {
  const sign = ['asset', 'expense'].includes(accountClass) ? 1n : -1n
  const sum = (amounts: bigint[]) => amounts.reduce((total, amount) => total + amount, 0n)
  return days.map((date) => {
    const amounts = entries.filter(({ day }) => day === date).map(({ amount }) => BigInt(amount))
    const until = entries.filter(({ day }) => day <= date).map(({ amount }) => BigInt(amount))
    return {
      date,
      debits: formatMinor(sum(amounts.filter((amount) => amount > 0n)), 2),
      credits: formatMinor(-sum(amounts.filter((amount) => amount < 0n)), 2),
      balance: formatMinor(sign * sum(until), 2),
    }
  })
}

function dateOf(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10)
}

/** All rows of a list, page by page. */
async function pages(api: ApiServer, path: string, asked: string, done: Done): Promise<Json[]> {
  const rows: Json[] = []
  let query = `${asked}&limit=7&minPosition=${done.position}`
  for (;;) {
    const { status, json } = await api.get(`${path}?${query}`)
    if (status !== 200) throw new Error(JSON.stringify(json))
    rows.push(...json.data)
    if (json.meta.cursor === undefined) return rows
    if (json.data.length !== 7) throw new Error('a page before the last is not full')
    query = `cursor=${json.meta.cursor}`
  }
}

function sumOf(entries: readonly Json[]): bigint {
  return entries.reduce((sum, { amount }) => sum + cents(amount), 0n)
}

function cents(amount: string): bigint {
  return BigInt(amount.replace('.', ''))
}
