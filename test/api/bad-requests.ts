import { type BadInput, batch, movement, movementWith, wrong } from './bad-rows.js'

/** Headers, routes and parameters, and the bodies of the other routes. */
export const headers: BadInput[] = [
  wrong('id and Idempotency-Key different', movementWith({ id: 'one' }), 'id', {
    headers: { 'idempotency-key': 'other' },
  }),
  wrong('an Idempotency-Key with a blank', movement, 'Idempotency-Key', {
    headers: { 'idempotency-key': 'a b' },
  }),
  wrong('a bad Idempotency-Key of a batch', { transactions: [movement] }, 'Idempotency-Key', {
    path: batch,
    headers: { 'idempotency-key': 'é' },
  }),
  wrong('a bad X-Correlation-Id', movement, 'X-Correlation-Id', {
    headers: { 'x-correlation-id': 'a b' },
  }),
  wrong('an X-Correlation-Id of 65 characters', movement, 'X-Correlation-Id', {
    headers: { 'x-correlation-id': 'x'.repeat(65) },
  }),
]

const notFound = { status: 404, code: 'route_not_found' }
const notAllowed = { status: 405, code: 'method_not_allowed' }
const account = '/v1/accounts/ada'

export const routes: BadInput[] = [
  { name: 'an unknown route', method: 'GET', path: '/v1/nothing', ...notFound },
  { name: 'the root', method: 'GET', path: '/', ...notFound },
  { name: 'a trailing slash', method: 'GET', path: `${account}/`, ...notFound },
  {
    name: 'a path that goes up',
    method: 'GET',
    path: '/docs/static/..%2f..%2fpackage.json',
    ...notFound,
  },
  { name: 'DELETE of an account', method: 'DELETE', path: account, ...notAllowed },
  { name: 'PUT of an account', method: 'PUT', path: account, body: {}, ...notAllowed },
  { name: 'GET of a batch', method: 'PUT', path: batch, ...notAllowed },
  { name: 'POST of /health', method: 'POST', path: '/health', ...notAllowed },
  wrong('a path key of 65 characters', undefined, 'id', {
    method: 'GET',
    path: `/v1/accounts/${'x'.repeat(65)}`,
  }),
  wrong('a path key of 1,000 characters', undefined, 'id', {
    method: 'GET',
    path: `/v1/accounts/${'x'.repeat(1000)}`,
  }),
  wrong('a path key with a blank', undefined, 'id', { method: 'GET', path: '/v1/accounts/a%20b' }),
  wrong('a path key with NUL', undefined, 'id', { method: 'GET', path: '/v1/accounts/a%00b' }),
  wrong('a path that is no UTF-8', undefined, 'path', { method: 'GET', path: '/v1/accounts/%ff' }),
  wrong('minPosition without a stream', undefined, 'minPosition', {
    method: 'GET',
    path: `${account}?minPosition=17`,
  }),
  wrong('minPosition of a stream that is not there', undefined, 'minPosition', {
    method: 'GET',
    path: `${account}?minPosition=2-1`,
  }),
  wrong('minPosition of stream 0', undefined, 'minPosition', {
    method: 'GET',
    path: `${account}?minPosition=0-0`,
  }),
  wrong('a negative minPosition', undefined, 'minPosition', {
    method: 'GET',
    path: `${account}?minPosition=1--1`,
  }),
  wrong('minPosition twice', undefined, 'minPosition', {
    method: 'GET',
    path: `${account}?minPosition=1-1&minPosition=1-2`,
  }),
  wrong('an unknown parameter', undefined, 'limit', { method: 'GET', path: `${account}?limit=1` }),
  wrong('bad minPosition of a transaction', undefined, 'minPosition', {
    method: 'GET',
    path: '/v1/transactions/x?minPosition=a',
  }),
]

export const accounts: BadInput[] = [
  wrong('without a class', { currency: 'EUR' }, 'class'),
  wrong('without a currency', { class: 'asset' }, 'currency'),
  wrong('of an unknown class', { currency: 'EUR', class: 'debt' }, 'class'),
  wrong('in an unknown currency', { currency: 'XXQ', class: 'asset' }, 'currency'),
  wrong(
    'with a limit that is a number',
    { currency: 'EUR', class: 'asset', overdraftLimit: 5 },
    'overdraftLimit',
  ),
  wrong(
    'with a negative limit',
    { currency: 'EUR', class: 'asset', overdraftLimit: '-5' },
    'overdraftLimit',
  ),
  wrong(
    'with a limit of words',
    { currency: 'EUR', class: 'asset', overdraftLimit: 'none' },
    'overdraftLimit',
  ),
  wrong(
    'with a limit beyond 64 bits',
    { currency: 'EUR', class: 'asset', overdraftLimit: '99999999999999999' },
    'overdraftLimit',
  ),
  wrong(
    'with an unlimited minimum',
    { currency: 'EUR', class: 'asset', minimumBalance: 'unlimited' },
    'minimumBalance',
  ),
  {
    name: 'with a limit of too many decimals',
    body: { currency: 'EUR', class: 'asset', overdraftLimit: '0.001' },
    status: 400,
    code: 'too_many_decimals',
    field: 'overdraftLimit',
  },
  wrong(
    'striped with a limit',
    { currency: 'EUR', class: 'asset', striped: true, overdraftLimit: '0' },
    'overdraftLimit',
  ),
  wrong(
    'striped with a minimum',
    { currency: 'EUR', class: 'asset', striped: true, minimumBalance: '0' },
    'minimumBalance',
  ),
  wrong('striped by a word', { currency: 'EUR', class: 'asset', striped: 'yes' }, 'striped'),
  wrong('with a balance', { currency: 'EUR', class: 'asset', balance: '5' }, 'balance'),
].map((row) => ({ ...row, name: `an account ${row.name}`, path: '/v1/accounts' }))

export const changes: BadInput[] = [
  wrong('to be striped', { striped: true }, 'striped'),
  wrong('none', {}, 'body'),
  wrong('of the currency', { currency: 'USD' }, 'currency'),
  wrong('to an unknown status', { status: 'gone' }, 'status'),
  wrong('of version 0', { status: 'active', version: 0 }, 'version'),
  wrong('of a limit beyond 64 bits', { overdraftLimit: '9999999999999999999' }, 'overdraftLimit'),
  {
    name: 'of a limit beyond 64 bits in cents',
    body: { overdraftLimit: '4000000000000000000' },
    status: 422,
    code: 'amount_overflow',
  },
  {
    name: 'of a limit with too many decimals',
    body: { overdraftLimit: '0.001' },
    status: 400,
    code: 'too_many_decimals',
    field: 'overdraftLimit',
  },
].map((row) => ({ ...row, name: `a change ${row.name}`, method: 'PATCH', path: account }))

export const followUps: BadInput[] = [
  wrong('amount and amounts', { amount: '1', amounts: ['1'] }, 'amounts'),
  wrong('amounts that are all zero', { amounts: ['0', '0.00'] }, 'amounts'),
  wrong('no amounts', { amounts: [] }, 'amounts'),
  wrong('an amount of zero', { amount: '0' }, 'amount'),
  wrong('an amount beyond 64 bits', { amount: '9999999999999999999' }, 'amount'),
  wrong(
    'one of the amounts beyond 64 bits',
    { amounts: ['1', '9999999999999999999'] },
    'amounts/1',
  ),
  wrong('an unknown field', { amuont: '1' }, 'amuont'),
].map((row) => ({
  ...row,
  name: `the post of a hold with ${row.name}`,
  path: '/v1/transactions/hold/post',
}))
