import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { refusals } from '../../src/actors/refusals.js'
import { apiPages } from '../../src/api/api-pages.js'
import { errorKinds } from '../../src/api/statuses.js'
import type { Json } from './server.js'

const root = new URL('../../../', import.meta.url)
const pages = await apiPages()
const document: Json = JSON.parse(pages['openapi.json'])
const operations: { name: string; path: string; method: string; operation: Json }[] =
  Object.entries(document.paths as Json).flatMap(([path, methods]) =>
    Object.entries(methods as Json).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      path,
      method,
      operation,
    })),
  )

for (const [name, text] of Object.entries(pages)) {
  t.test(`${name} is what the code says; npm run openapi writes it`, async (t) => {
    const kept = readFileSync(new URL(name, root), 'utf8')
    // Not t.equal: the difference of two long texts takes minutes to print.
    t.ok(kept === text, firstDifference(kept, text))
  })
}

t.test('every route is in the document', async (t) => {
  t.same(operations.map(({ name }) => name).sort(), [
    'DELETE /v1/webhooks/{id}',
    'GET /health',
    'GET /metrics',
    'GET /ready',
    'GET /v1/accounts',
    'GET /v1/accounts/{id}',
    'GET /v1/accounts/{id}/balance',
    'GET /v1/accounts/{id}/balances',
    'GET /v1/accounts/{id}/entries',
    'GET /v1/accounts/{id}/statement',
    'GET /v1/feed',
    'GET /v1/reports/trial-balance',
    'GET /v1/system/digest',
    'GET /v1/transactions',
    'GET /v1/transactions/{id}',
    'GET /v1/webhooks',
    'GET /v1/webhooks/{id}',
    'GET /v1/webhooks/{id}/dead-letters',
    'GET /v1/webhooks/{id}/deliveries',
    'PATCH /v1/accounts/{id}',
    'PATCH /v1/webhooks/{id}',
    'POST /v1/accounts',
    'POST /v1/accounts/search',
    'POST /v1/transactions',
    'POST /v1/transactions/batch',
    'POST /v1/transactions/search',
    'POST /v1/transactions/{id}/post',
    'POST /v1/transactions/{id}/reverse',
    'POST /v1/transactions/{id}/void',
    'POST /v1/webhooks',
    'POST /v1/webhooks/{id}/dead-letters/discard',
    'POST /v1/webhooks/{id}/dead-letters/resend',
    'POST /v1/webhooks/{id}/rotate',
    'POST /v1/webhooks/{id}/test',
  ])
})

t.test('the document has the structure of OpenAPI 3.1', async (t) => {
  t.equal(document.openapi, '3.1.0')
  t.ok(document.info.title && document.info.version)
  const ids = operations.map(({ operation }) => operation.operationId)
  t.equal(new Set(ids).size, operations.length, 'an operationId each')
  const tags = document.tags.map(({ name }: { name: string }) => name)
  for (const { name, path, operation } of operations) {
    t.ok(operation.summary, `${name}: a summary`)
    t.ok(
      operation.tags.every((tag: string) => tags.includes(tag)),
      `${name}: known tags`,
    )
    const parameters: Json[] = operation.parameters ?? []
    const inPath = parameters.filter((parameter) => parameter.in === 'path')
    const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter)
    t.same(
      inPath.map((parameter) => parameter.name),
      wanted,
      `${name}: parameters of the path`,
    )
    t.ok(inPath.every((parameter) => parameter.required === true))
    const keys = parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
    t.equal(new Set(keys).size, keys.length, `${name}: no parameter twice`)
    for (const parameter of parameters) {
      t.ok(['path', 'query', 'header'].includes(parameter.in) && parameter.schema, name)
    }
    for (const [status, response] of Object.entries(operation.responses as Json)) {
      t.match(status, /^[1-5]\d\d$/)
      const { description, content } = response as Json
      t.ok(description && description !== 'Default Response', `${name} ${status}: a description`)
      t.ok(Object.values(content ?? {}).every((media) => (media as Json).schema))
    }
  }
})

t.test('references lead somewhere, and every component is used', async (t) => {
  const found = new Set<string>()
  walk(document, (node) => {
    if (typeof node.$ref === 'string') found.add(node.$ref)
  })
  for (const reference of found) {
    const target = reference
      .replace('#/', '')
      .split('/')
      .reduce((node: Json, key) => node?.[key], document)
    t.ok(target, reference)
  }
  for (const name of Object.keys(document.components.schemas)) {
    t.ok(found.has(`#/components/schemas/${name}`), `${name} is used`)
  }
})

t.test('schemas are such as JSON Schema 2020-12 allows', async (t) => {
  const kinds = ['string', 'integer', 'number', 'boolean', 'object', 'array', 'null']
  walk(document.components.schemas, (node) => {
    if (typeof node.type === 'string') check(t, kinds.includes(node.type), node)
    if (Array.isArray(node.required)) {
      const { properties = {} } = node
      check(
        t,
        node.required.every((name: string) => name in properties),
        node,
      )
    }
    if (typeof node.pattern === 'string') t.doesNotThrow(() => new RegExp(node.pattern, 'u'))
    check(t, !('nullable' in node) && !('example' in node), node)
  })
})

t.test('examples keep to their patterns, and every body has one', async (t) => {
  for (const { name, operation } of operations) {
    const media = operation.requestBody?.content['application/json']
    if (media === undefined) continue
    t.ok(media.example ?? media.examples, `${name}: an example`)
    t.match(media.schema.$ref, /^#\/components\/schemas\//, `${name}: a named schema`)
  }
})

t.test('every error code is documented where it can come, under its status', async (t) => {
  const listed = new Map<string, Set<string>>()
  for (const { name, operation } of operations) {
    for (const [status, response] of Object.entries(operation.responses as Json)) {
      if (Number(status) < 400 || name === 'GET /ready') continue
      for (const code of (response as Json).description.split(', ')) {
        const kind = errorKinds[code as keyof typeof errorKinds]
        t.equal(kind?.status, Number(status), `${name}: ${code} is ${status}`)
        listed.set(code, (listed.get(code) ?? new Set()).add(name))
      }
    }
  }
  const ofNoRoute = ['route_not_found', 'method_not_allowed']
  for (const code of Object.keys(errorKinds)) {
    t.equal(listed.has(code), !ofNoRoute.includes(code), code)
  }
  t.same(
    document.components.schemas.Failure.properties.error.properties.code.enum.sort(),
    [...Object.keys(errorKinds)].sort(),
  )
})

t.test('a batch has its four forms both ways; headers are documented', async (t) => {
  const { post } = document.paths['/v1/transactions/batch']
  t.same(Object.keys(post.requestBody.content), [
    'application/json',
    'application/x-ndjson',
    'application/msgpack',
    'application/vnd.daybook.transactions',
  ])
  t.same(Object.keys(post.responses[200].content), [
    'application/json',
    'application/x-ndjson',
    'application/msgpack',
    'application/vnd.daybook.results',
  ])
  for (const { name, method, operation } of operations) {
    const headers = (operation.parameters ?? [])
      .filter((parameter: Json) => parameter.in === 'header')
      .map((parameter: Json) => parameter.name)
    const own =
      method === 'post' ? ['Idempotency-Key'] : name === 'GET /v1/feed' ? ['Last-Event-ID'] : []
    t.same(headers, ['X-Correlation-Id', ...own], name)
    for (const [status, response] of Object.entries(operation.responses as Json)) {
      t.ok((response as Json).headers['X-Correlation-Id'], `${name} ${status}`)
      if (['429', '503'].includes(status) && name !== 'GET /ready') {
        t.ok((response as Json).headers['Retry-After'], `${name} ${status}: Retry-After`)
      }
    }
  }
  t.ok(document.paths['/v1/transactions'].post.responses[200].headers['Idempotent-Replayed'])
})

t.test('docs/api-errors.md lists every code once, with status, kind and number', async (t) => {
  const page = pages['docs/api-errors.md']
  for (const [code, { status, transient }] of Object.entries(errorKinds)) {
    const rows = page
      .split('\n')
      .filter((line) => line.startsWith('|') && line.includes(`\`${code}\``))
    t.equal(rows.length, 1, code)
    t.match(rows[0], `| ${status} | ${transient ? 'transient' : 'final'} |`, code)
    const number = refusals.find((refusal) => refusal.code === code)?.number
    if (number !== undefined) t.ok(rows[0].startsWith(`| ${number} |`), `${code} is ${number}`)
  }
})

function check(t: Test, condition: boolean, node: unknown): void {
  if (!condition) t.fail('a schema is not well-formed', { node })
}

function walk(value: unknown, visit: (node: Json) => void): void {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) visit(value)
  for (const entry of Object.values(value)) walk(entry, visit)
}

function firstDifference(a: string, b: string): string {
  const linesA = a.split('\n')
  const linesB = b.split('\n')
  const line = linesA.findIndex((text, index) => text !== linesB[index])
  return a === b ? 'the same' : `line ${line + 1}: ${linesA[line]} is to be ${linesB[line]}`
}
