import { readFileSync } from 'node:fs'
import { pack, unpack } from 'msgpackr'
import t from 'tap'
import {
  type Answer,
  type ApiServer,
  type Json,
  openAccounts,
  refused,
  startApi,
} from './server.js'

t.setTimeout(60_000)

const path = '/v1/transactions/batch'
const types = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  msgpack: 'application/msgpack',
  binary: 'application/vnd.daybook.transactions',
  results: 'application/vnd.daybook.results',
} as const

const movement = { debit: 'cash', credit: 'ada', amount: '1.00' }
const outcomes = (answer: Answer) =>
  answer.json.data.results.map((result: { outcome: string }) => result.outcome)

t.test('batches', async (t) => {
  const api = await startApi(t)
  await openAccounts(api)
  const balance = async (id: string) =>
    (await api.get(`/v1/accounts/${id}`)).json.data.balances.balance

  t.test('each item has its result, in order, and later items see earlier ones', async (t) => {
    await api.post('/v1/transactions', { ...movement, id: 'b1:known' })
    const answer = await api.post(path, {
      transactions: [
        { id: 'b1:poor', debit: 'ben', credit: 'ada', amount: '5.00' },
        { id: 'b1:rich', debit: 'cash', credit: 'ben', amount: '5.00' },
        { id: 'b1:spent', debit: 'ben', credit: 'ada', amount: '5.00' },
        { ...movement, id: 'b1:known' },
        { ...movement, id: 'b1:known2', amount: '0.001' },
        { ...movement, pending: true, reference: 'r' },
      ],
    })
    t.equal(answer.status, 200)
    t.same(outcomes(answer), ['refused', 'accepted', 'accepted', 'replayed', 'refused', 'accepted'])
    t.same(answer.json.data.counts, { accepted: 3, replayed: 1, refused: 2 })
    const [poor, rich, spent, known, fine] = answer.json.data.results
    t.same(poor.error, {
      code: 'insufficient_funds',
      message: 'the available balance does not cover the amount',
      transient: false,
    })
    t.notOk('position' in poor)
    t.equal(fine.error.code, 'too_many_decimals')
    for (const [name, result] of Object.entries({ 'b1:rich': rich, 'b1:known': known })) {
      const read = await api.get(`/v1/transactions/${name}`)
      t.equal(read.json.data.id, result.id)
      t.equal(read.json.meta.position, result.position)
    }
    const seq = (position: string) => Number(position.split('-')[1])
    t.equal(seq(spent.position), seq(rich.position) + 1)
    t.equal(answer.json.meta.positions.length, 1)
    t.ok(seq(answer.json.meta.positions[0]) >= seq(spent.position))
    t.equal((await api.get('/v1/transactions/b1:poor')).status, 404)
  })

  t.test('atomic: all of it, or nothing and the first that stands in the way', async (t) => {
    const before = await balance('ada')
    const transactions = [
      { id: 'b2:1', ...movement },
      { id: 'b2:2', debit: 'ben', credit: 'ada', amount: '99' },
      { id: 'b2:3', ...movement, credit: 'nobody' },
    ]
    const refusal = await api.post(path, { transactions, atomic: true })
    refused(t, refusal, 422, 'insufficient_funds')
    t.equal(refusal.json.error.details.index, 1)
    t.equal((await api.get('/v1/transactions/b2:1')).status, 404)
    t.equal(await balance('ada'), before)
    const lost = await api.post(`${path}?atomic=true`, {
      transactions: [transactions[0], transactions[2]],
    })
    refused(t, lost, 404, 'account_not_found')
    t.equal(lost.json.error.details.index, 1)
    const fine = await api.post(path, {
      transactions: [movement, { ...movement, amount: '0.001' }],
      atomic: true,
    })
    refused(t, fine, 400, 'too_many_decimals')
    t.equal(fine.json.error.details.field, 'transactions/1')
    const chain = {
      transactions: [
        { id: 'b2:1', debit: 'cash', credit: 'ben', amount: '7' },
        { id: 'b2:2', debit: 'ben', credit: 'ada', amount: '7' },
      ],
      atomic: true,
      ordered: true,
    }
    t.same(outcomes(await api.post(path, chain)), ['accepted', 'accepted'])
    t.same(outcomes(await api.post(path, chain)), ['replayed', 'replayed'])
    const reused = [
      { ...movement, id: 'b2:4' },
      { ...movement, id: 'b2:2' },
    ]
    const clash = await api.post(path, { transactions: reused, atomic: true })
    refused(t, clash, 409, 'id_reused_with_different_body')
    t.same(outcomes(await api.post(path, { transactions: reused })), ['accepted', 'refused'])
  })

  t.test('items without an id are named by Idempotency-Key and index', async (t) => {
    const body = { transactions: [movement, { ...movement, id: 'b3:own' }, movement] }
    const key = { 'idempotency-key': 'b3' }
    const first = await api.post(path, body, key)
    t.same(outcomes(first), ['accepted', 'accepted', 'accepted'])
    const again = await api.post(path, body, key)
    t.same(outcomes(again), ['replayed', 'replayed', 'replayed'])
    t.same(ids(again), ids(first))
    const longer = await api.post(path, { transactions: [...body.transactions, movement] }, key)
    t.same(outcomes(longer), ['replayed', 'replayed', 'replayed', 'accepted'])
    const other = await api.post(path, body, { 'idempotency-key': 'b3:2' })
    t.same(outcomes(other), ['accepted', 'replayed', 'accepted'])
    const unnamed = await api.post(path, body)
    t.same(outcomes(unnamed), ['accepted', 'replayed', 'accepted'])
  })

  t.test('one id with one body is one transaction, whatever form it comes in', async (t) => {
    const { id: debit } = (await api.get('/v1/accounts/cash')).json.data
    const { id: credit } = (await api.get('/v1/accounts/ada')).json.data
    const items = Array.from({ length: 3 }, (_, index) => ({
      id: `0198c5a4-7a10-7c3e-9d5b-0000000000b${index}`,
      debit,
      credit,
      amount: '12.50',
      code: index,
    }))
    const forms = allForms(items)
    for (const first of Object.keys(forms) as (keyof typeof forms)[]) {
      const fresh = items.map((item) => ({ ...item, id: item.id.replace('9d5b', tagOf(first)) }))
      const sent = allForms(fresh)
      const answer = await send(api, sent[first])
      t.same(outcomes(answer), ['accepted', 'accepted', 'accepted'], `first as ${first}`)
      for (const [name, form] of Object.entries(sent)) {
        t.same(
          outcomes(await send(api, form)),
          ['replayed', 'replayed', 'replayed'],
          `then ${name}`,
        )
      }
      const single = await api.post('/v1/transactions', fresh[2])
      t.equal(single.status, 200, 'then alone')
    }
  })

  t.test('a full item means the same as NDJSON and msgpack', async (t) => {
    const full = {
      id: 'b5:full',
      postings: [movement, { ...movement, credit: 'ben', amount: '2' }],
      pending: true,
      expiresAt: '2099-01-01T00:00:00.5+01:00',
      reference: 'é',
      metadata: { z: 1, a: 'x', big: Number.MAX_SAFE_INTEGER, yes: true, low: -5 },
      code: 4_000_000_000,
      effectiveDate: '2099-12-31',
      conditions: [],
    }
    t.same(outcomes(await api.post(path, { transactions: [full] })), ['accepted'])
    const line = { type: types.ndjson, body: Buffer.from(JSON.stringify(full)) }
    t.same(outcomes(await send(api, line)), ['replayed'], 'NDJSON, without a last newline')
    const packed = { type: types.msgpack, body: pack({ transactions: [full], ordered: true }) }
    t.same(outcomes(await send(api, packed)), ['replayed'])
    t.match((await api.get('/v1/transactions/b5:full')).json.data, {
      metadata: full.metadata,
      expiresAt: '2098-12-31T23:00:00.500Z',
    })
  })

  t.test('NDJSON takes its options from the query, and blank lines are passed over', async (t) => {
    const lines = `\r\n${JSON.stringify(movement)}\r\n\n${JSON.stringify({ ...movement, credit: 'x' })}\n`
    const form = { type: types.ndjson, body: Buffer.from(lines) }
    t.same(outcomes(await send(api, form)), ['accepted', 'refused'])
    const atomic = await api.call('POST', `${path}?atomic=true&ordered=true`, {
      body: lines,
      headers: { 'content-type': types.ndjson },
    })
    refused(t, atomic, 404, 'account_not_found')
  })

  t.test('the answer follows Accept', async (t) => {
    const transactions = [
      { ...movement, id: 'b6:1' },
      { ...movement, id: 'b6:2', credit: 'nobody' },
    ]
    await api.post(path, { transactions: transactions.slice(0, 1) })
    const plain = await api.post(path, { transactions })
    t.match(plain.headers.get('content-type'), /^application\/json/)
    t.same(outcomes(plain), ['replayed', 'refused'])
    const asked = (accept: string) => api.post(path, { transactions }, { accept })
    t.same((await asked('*/*')).json, plain.json)
    const msgpack = await asked(types.msgpack)
    t.equal(msgpack.headers.get('content-type'), types.msgpack)
    t.same(unpack(msgpack.bytes), plain.json)
    const ndjson = await asked(types.ndjson)
    t.match(ndjson.headers.get('content-type'), types.ndjson)
    const lines = ndjson.bytes.toString().trimEnd().split('\n')
    t.same(
      lines.map((line) => JSON.parse(line)),
      plain.json.data.results,
    )
    const binary = await asked(types.results)
    t.equal(binary.headers.get('content-type'), types.results)
    const [stream, seq] = plain.json.data.results[0].position.split('-')
    t.equal(binary.bytes.toString('latin1', 0, 4), 'DAYR')
    t.equal(binary.bytes.length, 48)
    t.equal(binary.bytes.readUInt32LE(8), 2)
    t.equal(binary.bytes.readUInt32LE(12), 1)
    t.equal(binary.bytes[16], 1, 'replayed')
    t.equal(binary.bytes.readUInt32LE(20), Number(stream))
    t.equal(binary.bytes.readBigUInt64LE(24), BigInt(seq))
    t.equal(binary.bytes[32], 2, 'refused')
    const refusal = await api.post(
      path,
      { transactions: [{ ...movement, credit: 'nobody' }], atomic: true },
      { accept: types.results },
    )
    refused(t, refusal, 404, 'account_not_found')
  })

  t.test('8,190 items are taken, in JSON and binary', async (t) => {
    const before = await balance('ada')
    const { id: debit } = (await api.get('/v1/accounts/cash')).json.data
    const { id: credit } = (await api.get('/v1/accounts/ada')).json.data
    const items = Array.from({ length: 8190 }, (_, index) => ({
      id: `0198c5a4-7a10-7c3e-8190-${index.toString(16).padStart(12, '0')}`,
      debit,
      credit,
      amount: '0.01',
      code: 0,
    }))
    const forms = allForms(items)
    const first = await send(api, forms.binary)
    t.same(first.json.data.counts, { accepted: 8190, replayed: 0, refused: 0 })
    const again = await send(api, forms.json)
    t.same(again.json.data.counts, { accepted: 0, replayed: 8190, refused: 0 })
    t.equal(await balance('ada'), (Number(before) + 81.9).toFixed(2))
  })

  t.test('binary flags: atomic, ordered and imported', async (t) => {
    const { id: debit } = (await api.get('/v1/accounts/ben')).json.data
    const { id: credit } = (await api.get('/v1/accounts/cash')).json.data
    const item = {
      id: '0198c5a4-7a10-7c3e-9d5b-0000000000f1',
      debit,
      credit,
      amount: '1000.00',
      code: 0,
      day: 8405,
    }
    const flagged = (flags: number) => {
      const body = binaryOf([item])
      body[5] = flags
      return send(api, { type: types.binary, body })
    }
    t.equal((await flagged(0)).json.data.results[0].error.code, 'effective_date_in_the_past')
    refused(t, await flagged(1), 422, 'effective_date_in_the_past')
    t.equal((await flagged(2)).json.data.results[0].error.code, 'effective_date_in_the_past')
    refused(t, await flagged(3), 422, 'effective_date_in_the_past')
    t.same(outcomes(await flagged(4)), ['accepted'])
    const read = (await api.get(`/v1/transactions/${item.id}`)).json.data
    t.match(read, { imported: true, effectiveDate: '1993-01-05' })
    t.notOk('code' in read)
    t.same(outcomes(await flagged(5)), ['replayed'])
    t.equal((await flagged(0)).json.data.results[0].error.code, 'id_reused_with_different_body')
  })
})

t.test('the example of docs/binary-batch.md is what the server takes and answers', async (t) => {
  const api = await startApi(t)
  const page = readFileSync(new URL('../../../docs/binary-batch.md', import.meta.url), 'utf8')
  const [request, expected] = [...page.matchAll(/```text\n([^`]+)```/g)].map(([, block]) =>
    Buffer.from(
      block
        .split('\n')
        .map((line) => line.slice(0, 48).replaceAll(' ', ''))
        .join(''),
      'hex',
    ),
  )
  t.equal(request.length, 16 + 2 * 64)
  t.equal(expected.length, 16 + 2 * 16)
  for (const account of [
    { id: '0198c5a4-7a10-7c3e-9d5b-000000000001', class: 'asset', overdraftLimit: 'unlimited' },
    { id: '0198c5a4-7a10-7c3e-9d5b-000000000002', class: 'liability' },
  ]) {
    t.equal((await api.post('/v1/accounts', { ...account, currency: 'EUR' })).status, 201)
  }
  const answer = await api.call('POST', path, {
    body: request,
    headers: { 'content-type': types.binary, accept: types.results },
  })
  t.equal(answer.status, 200)
  t.equal(answer.bytes.toString('hex'), expected.toString('hex'))
  t.match((await api.get('/v1/transactions/0198c5a4-7a10-7c3e-9d5b-0000000000a1')).json.data, {
    postings: [{ amount: '125.50', currency: 'EUR' }],
    effectiveDate: '1993-01-05',
    code: 7,
    imported: true,
  })
})

interface Item {
  id: string
  debit: string
  credit: string
  amount: string
  code: number
  day?: number
}

interface Form {
  type: string
  body: Buffer
}

function allForms(items: Item[]): Record<'json' | 'ndjson' | 'msgpack' | 'binary', Form> {
  return {
    json: { type: types.json, body: Buffer.from(JSON.stringify({ transactions: items })) },
    ndjson: {
      type: types.ndjson,
      body: Buffer.from(items.map((item) => `${JSON.stringify(item)}\n`).join('')),
    },
    msgpack: { type: types.msgpack, body: pack({ transactions: items }) },
    binary: { type: types.binary, body: binaryOf(items) },
  }
}

function binaryOf(items: Item[]): Buffer {
  const bytes = Buffer.alloc(16 + items.length * 64)
  bytes.write('DAYB')
  bytes[4] = 1
  bytes[6] = 2
  bytes.writeUInt32LE(items.length, 8)
  for (const [index, item] of items.entries()) {
    const at = 16 + index * 64
    for (const [offset, id] of [item.id, item.debit, item.credit].entries()) {
      bytes.write(id.replaceAll('-', ''), at + offset * 16, 'hex')
    }
    bytes.writeBigInt64LE(BigInt(item.amount.replace('.', '')), at + 48)
    bytes.writeInt32LE(item.day ?? -(2 ** 31), at + 56)
    bytes.writeUInt32LE(item.code, at + 60)
  }
  return bytes
}

function tagOf(form: string): string {
  return { json: '8001', ndjson: '8002', msgpack: '8003', binary: '8004' }[form] ?? ''
}

function send(api: ApiServer, form: Form): Promise<Answer> {
  return api.call('POST', path, { body: form.body, headers: { 'content-type': form.type } })
}

function ids(answer: Answer): Json {
  return answer.json.data.results.map((result: { id: string }) => result.id)
}
