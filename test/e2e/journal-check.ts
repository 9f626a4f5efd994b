import pg from 'pg'
import type { Test } from 'tap'
import {
  type ClientLog,
  type Entry,
  HttpClient,
  isAcknowledged,
  isSamePostings,
  isSettled,
  toAmount,
  toMinor,
} from './client-log.js'
import { type Counters, Ledger, readJournal } from './ledger.js'
import type { Load } from './load.js'
import { readProblems } from './read-check.js'

/** Transactions that are read over HTTP one by one; the newest, and as many others by chance. */
const readsMax = 150

export interface CheckParts {
  /** Of the server; absent: only the journal is checked. */
  url?: string
  connectionString: string
  load: Pick<Load, 'log' | 'accounts'>
}

/**
 * Settles what is unknown, then checks everything; the test fails with the list of what is wrong.
 * Resolves with the number of problems.
 */
export async function checkBook(t: Test, parts: CheckParts & { url: string }): Promise<number> {
  const { log } = parts.load
  await log.settle(parts.url)
  const problems = await problemsOf(parts)
  const { acknowledged, refused, unavailable, unknown } = log.counts
  t.comment(
    `${acknowledged} acknowledged, ${refused} refused, ${unavailable} not accepted, ${unknown} unknown, ` +
      `${log.reads.counts.checked} reads`,
  )
  if (problems.length > 0) t.comment(`${problems.length} problems`)
  t.same(problems.slice(0, 10), [], 'journal and server are as the client was told')
  return problems.length
}

/** Compares the client's log with the journal and with the server; what is wrong, in sentences. */
export async function problemsOf(parts: CheckParts): Promise<string[]> {
  const { log, accounts } = parts.load
  const client = new pg.Client({ connectionString: parts.connectionString })
  await client.connect()
  try {
    const journal = await readJournal(client)
    const ledger = new Ledger(accounts, journal)
    return [
      ...log.violations,
      ...ledger.problems,
      ...entryProblems(log, ledger),
      ...readProblems(log, ledger),
      ...(await chainProblems(client)),
      ...(await viewProblems(client, ledger)),
      ...(parts.url === undefined ? [] : await serverProblems(parts.url, log, ledger)),
    ]
  } finally {
    await client.end()
  }
}

const recordKinds: Record<Entry['kind'], readonly string[]> = {
  transaction: ['posting', 'transaction'],
  hold: ['hold'],
  post: ['hold_posted'],
  void: ['hold_voided'],
}

function entryProblems(log: ClientLog, ledger: Ledger): string[] {
  const problems: string[] = []
  for (const entry of log.entries.values()) {
    const record = ledger.records.get(entry.key)
    const what = `${entry.kind} ${entry.key}`
    if (record === undefined) {
      if (isAcknowledged(entry)) problems.push(`${what} was acknowledged and is not there`)
      continue
    }
    if (!recordKinds[entry.kind].includes(record.kind)) problems.push(`${what} is a ${record.kind}`)
    const shown = record.movements.map((m) => ({ ...m, amount: toAmount(m.amount) }))
    if (!isSamePostings(shown, entry.movements)) problems.push(`${what} has another body`)
    problems.push(...answerProblems(entry, record.position).map((text) => `${what} ${text}`))
  }
  for (const [key, { position }] of ledger.records) {
    if (!log.entries.has(key)) problems.push(`nobody sent ${key} at ${position}`)
  }
  for (const { isAtomic, entries, path } of log.requests) {
    const present = entries.filter(({ key }) => ledger.records.has(key)).length
    if (isAtomic && present > 0 && present < entries.length) {
      problems.push(`${path} is atomic, and ${present} of ${entries.length} items are there`)
    }
  }
  return problems
}

/** What the answers about an entry that is in the journal have against it. */
function answerProblems({ answers, ...entry }: Entry, position: string): string[] {
  const problems: string[] = []
  const acknowledged = answers.filter((answer) => answer.outcome === 'acknowledged')
  const isUnknownSomewhere = answers.some(({ outcome }) => outcome === 'unknown')
  const first = acknowledged.filter(({ replayed }) => !replayed).length
  if (!isSettled({ ...entry, answers })) problems.push('is there, and not settled')
  else if (acknowledged.length === 0) problems.push('was refused and is there')
  if (first > 1) problems.push(`was accepted ${first} times`)
  if (first === 0 && acknowledged.length > 0 && !isUnknownSomewhere) {
    problems.push('was replayed, and never accepted')
  }
  const others = acknowledged.filter((answer) => answer.position !== position)
  if (others.length > 0) problems.push(`was answered as ${others[0].position}, is ${position}`)
  return problems
}

/** Follows the digests from chunk to chunk, and compares the last with the stream's row. */
async function chainProblems(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ problem: string }>(`
    with chunk as (
      select stream, first_seq, part, n, epoch, prev,
        sha256(prev || int4send(stream) || int8send(first_seq) || int2send(part) || int4send(n)
          || int4send(epoch) || payload) as digest,
        lag(epoch) over w as epoch_before, lead(prev) over w as prev_after
      from daybook.journal window w as (partition by stream order by first_seq, part)
    )
    select format('the digest after %s-%s.%s does not follow', c.stream, first_seq, part) as problem
    from chunk c join daybook.stream s on s.id = c.stream
    where c.digest <> coalesce(prev_after, s.digest)
    union all
    select format('the epoch falls at %s-%s', stream, first_seq) from chunk
    where epoch < epoch_before
    union all
    select format('the head of stream %s is %s, and there are %s records', s.id, s.head, sum(c.n))
    from daybook.stream s left join chunk c on c.stream = s.id
    group by s.id having s.head <> coalesce(sum(c.n), 0)`)
  return rows.map(({ problem }) => problem)
}

/** Compares the views that an auditor reads with what was added up here. */
async function viewProblems(client: pg.Client, ledger: Ledger): Promise<string[]> {
  const problems: string[] = []
  const postings = await client.query<{ count: string }>('select count(*) from daybook.postings')
  if (Number(postings.rows[0].count) !== ledger.postings) {
    problems.push(`daybook.postings has ${postings.rows[0].count} rows, not ${ledger.postings}`)
  }
  const balances = await client.query<{ account: string; debits: string; credits: string }>(
    `select account, debits_posted_minor as debits, credits_posted_minor as credits
     from daybook.balances`,
  )
  for (const { account, debits, credits } of balances.rows) {
    const { debitsPosted, creditsPosted } = ledger.of(account)
    if (BigInt(debits) !== debitsPosted || BigInt(credits) !== creditsPosted) {
      problems.push(`daybook.balances has ${debits} and ${credits} for ${account}`)
    }
  }
  const unapplied = await client.query<{ account: string }>('select account from daybook.unapplied')
  for (const { account } of unapplied.rows) problems.push(`daybook.unapplied has ${account}`)
  return problems
}

/** Asks the server for every account, and for some of the transactions. */
async function serverProblems(url: string, log: ClientLog, ledger: Ledger): Promise<string[]> {
  const client = new HttpClient(url, 4)
  const accounts = ledger.accounts.map(({ id }) => accountProblems(client, id, ledger.of(id)))
  const entries = [...log.entries.values()]
  const newest = entries.splice(-readsMax)
  const others = entries.filter(() => Math.random() * entries.length < readsMax)
  const reads = [...newest, ...others].map((entry) => transactionProblems(client, entry, ledger))
  const problems = await Promise.all([...accounts, ...reads]).finally(() => client.close())
  return problems.flat()
}

async function accountProblems(
  client: HttpClient,
  id: string,
  counters: Counters,
): Promise<string[]> {
  const answer = await client.get(`/v1/accounts/${id}`)
  if (answer.kind === 'lost' || answer.status !== 200) {
    return [`account ${id} cannot be read: ${JSON.stringify(answer)}`]
  }
  return Object.entries(counters).flatMap(([name, minor]) => {
    const shown = answer.body.data?.balances?.[name] ?? ''
    return toMinor(shown) === minor ? [] : [`account ${id} shows ${name} ${shown}, not ${minor}`]
  })
}

async function transactionProblems(
  client: HttpClient,
  entry: Entry,
  ledger: Ledger,
): Promise<string[]> {
  const answer = await client.get(`/v1/transactions/${entry.key}`)
  const what = `GET of ${entry.kind} ${entry.key}`
  if (answer.kind === 'lost') return [`${what}: ${answer.reason}`]
  if (!isAcknowledged(entry)) return answer.status === 404 ? [] : [`${what}: ${answer.status}`]
  if (answer.status !== 200) return [`${what}: ${answer.status}`]
  const { postings = [], status } = answer.body.data ?? {}
  const expected = ledger.holds.get(entry.key)?.status ?? 'posted'
  return [
    ...(isSamePostings(postings, entry.movements) ? [] : [`${what} shows another body`]),
    ...(status === expected ? [] : [`${what} is ${status}, not ${expected}`]),
  ]
}
