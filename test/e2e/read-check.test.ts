import t from 'tap'
import { ClientLog, type HttpAnswer } from './client-log.js'
import { type JournalRecord, Ledger } from './ledger.js'
import type { LoadAccount } from './load-accounts.js'
import { readProblems } from './read-check.js'
import { single } from './requests.js'

const unlimited = { class: 'equity', overdraftLimit: null, minimumBalance: 0n } as const
const accounts: LoadAccount[] = [
  { id: 'one', ...unlimited },
  { id: 'all', striped: true, ...unlimited },
]
const movement = { debit: 'one', credit: 'all', amount: 100n }
const striped = 8

/** A book of one posting of 1.00, acknowledged before the reads of a test. */
function fixture() {
  const log = new ClientLog()
  const request = log.add(single([movement]))
  const record = {
    ...{ stream: 1, time_ms: '0', pending: false, id_elsewhere: false },
    ...{ cause_kind: null, cause_stream: null, cause_seq: null, message: null },
  }
  const postings: JournalRecord['body']['postings'] = [['one', 'all', 100, 'EUR', 2]]
  const ledger = new Ledger(accounts, [
    { ...record, seq: '1', kind: 'account_created', id: 'one', body: {} },
    { ...record, seq: '2', kind: 'account_created', id: 'all', body: {} },
    {
      ...{ ...record, seq: '3', kind: 'transaction', id: request.entries[0].key },
      body: { postings, sides: [striped] },
    },
  ])
  log.record(request, answer(201, { data: {}, meta: { position: '1-3' } }))
  return { log, ledger, key: request.entries[0].key }
}

function answer(status: number, body: (HttpAnswer & { kind: 'answer' })['body']): HttpAnswer {
  return { kind: 'answer', status, headers: {}, body }
}

function account(version: number, debits: string, credits: string): HttpAnswer {
  const pending = { debitsPending: '0.00', creditsPending: '0.00' }
  const balances = { debitsPosted: debits, creditsPosted: credits, ...pending }
  return answer(200, { data: { version, balances } })
}

function transaction(amount: string, status = 'posted'): HttpAnswer {
  return answer(200, { data: { status, postings: [{ debit: 'one', credit: 'all', amount }] } })
}

const notFound = answer(404, { error: { code: 'transaction_not_found' } })

const right: [string, 'account' | 'transaction', string, HttpAnswer][] = [
  ['an account as it is', 'account', 'one', account(2, '1.00', '0.00')],
  ['a striped sum', 'account', 'all', account(1, '0.00', '1.00')],
  ['a transaction as it is', 'transaction', '', transaction('1.00')],
  ['a transaction that nobody sent', 'transaction', 'other', notFound],
  ['no answer to speak of', 'account', 'one', answer(503, { error: { code: 'away' } })],
]

const wrong: [RegExp, 'account' | 'transaction', string, HttpAnswer][] = [
  [/version 3 of one, which is not there/, 'account', 'one', account(3, '2.00', '0.00')],
  [/at version 2 of one, which is 100/, 'account', 'one', account(2, '2.00', '0.00')],
  [/version 1 of one after 2/, 'account', 'one', account(1, '0.00', '0.00')],
  [/of all, after 0\/100/, 'account', 'all', account(1, '0.00', '0.99')],
  [/of all, after 0\/100/, 'account', 'all', account(1, '0.00', '1.01')],
  [/no longer found/, 'transaction', '', notFound],
  [/another body/, 'transaction', '', transaction('2.00')],
  [/as pending/, 'transaction', '', transaction('1.00', 'pending')],
  [/which is not there/, 'transaction', 'other', transaction('1.00')],
  [/read of account one: 500/, 'account', 'one', answer(500, {})],
]

for (const [what, kind, key, shown] of right) {
  t.test(`${what} is no problem`, async (t) => {
    const book = fixture()
    book.log.reads.record(book.log.reads.ask(kind, key || book.key), shown)
    t.same(readProblems(book.log, book.ledger), [])
  })
}

for (const [problem, kind, key, shown] of wrong) {
  t.test(`a read is found of which it is said: ${problem.source}`, async (t) => {
    const book = fixture()
    book.log.reads.record(book.log.reads.ask(kind, key || book.key), shown)
    t.match(readProblems(book.log, book.ledger), [problem])
  })
}

t.test('what was shown once is never older again, nor gone', async (t) => {
  const { log, ledger, key } = fixture()
  const reads = [log.reads.ask('account', 'one'), log.reads.ask('account', 'one')]
  log.reads.record(reads[0], account(2, '1.00', '0.00'))
  log.reads.record(log.reads.ask('transaction', key), transaction('1.00'))
  log.reads.record(log.reads.ask('account', 'one'), account(1, '0.00', '0.00'))
  log.reads.record(log.reads.ask('transaction', key), notFound)
  t.match(readProblems(log, ledger), [/version 1 of one after 2/, /no longer found/])
})

t.test('a server that may have been taken over may be older, but not wrong', async (t) => {
  const { log, ledger } = fixture()
  log.reads.mayBeOld = true
  log.reads.record(log.reads.ask('account', 'one'), account(1, '0.00', '0.00'))
  t.same(readProblems(log, ledger), [])
  log.reads.record(log.reads.ask('account', 'one'), account(1, '1.00', '0.00'))
  t.match(readProblems(log, ledger), [/at version 1 of one, which is 0/])
})
