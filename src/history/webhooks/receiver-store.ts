import pg from 'pg'
import { newKeyText } from '../../key.js'
import type { OutcomeKind } from './outcome.js'
import { type Receiver, type ReceiverRow, receiverColumns, receiverFrom } from './receiver.js'
import type { WebhookEvent } from './webhook-event.js'
import { ensureWebhookSchema } from './webhook-schema.js'

/** What the API reads and writes; delivery-store.ts is the other side. Both meet in Postgres alone. */

export const receiversOfTenantMax = 100
const connectionsMax = 4
const waitingMax = 256

export type NewReceiver = Pick<
  Receiver,
  'tenant' | 'url' | 'description' | 'types' | 'accounts' | 'batchMax'
> & {
  id?: string
  /** Whether it gets what the journal has already; otherwise what comes from now on. */
  fromBeginning: boolean
}

/** What is absent stays; null takes away. */
export interface ReceiverChanges {
  url?: string
  description?: string | null
  types?: string[] | null
  accounts?: string[] | null
  batchMax?: number
  state?: 'active' | 'paused'
}

/** A request to a receiver. */
export interface LoggedAttempt {
  id: string
  atMs: number
  firstEvent: string
  lastEvent: string
  events: number
  attempt: number
  outcome: OutcomeKind
  status: number | undefined
  error: string | undefined
  durationMs: number
}

export interface DeadLetter {
  id: string
  event: WebhookEvent
  attempts: number
  status: number | undefined
  error: string | undefined
  firstMs: number
  lastMs: number
  isResending: boolean
}

/** Why the receivers cannot be read or written: Postgres is away, or too many ask. */
export class WebhookStoreFault extends Error {
  readonly code: 'webhooks_unavailable' | 'too_many_reads'

  constructor(code: WebhookStoreFault['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

export class ReceiverStore {
  readonly #pool: pg.Pool
  #isReady = false

  constructor(
    connectionString: string,
    { timeoutMs, onError }: { timeoutMs: number; onError(error: Error): void },
  ) {
    this.#pool = new pg.Pool({
      connectionString,
      max: connectionsMax,
      connectionTimeoutMillis: timeoutMs,
      query_timeout: timeoutMs,
      application_name: 'daybook webhooks api',
      allowExitOnIdle: true,
    })
    this.#pool.on('error', onError)
  }

  /**
   * The new receiver, or the one that has its id already; undefined if the tenant has as many as it
   * may. It begins with the records after those that are committed now, or with the first of all.
   */
  async create(made: NewReceiver): Promise<{ receiver: Receiver; isNew: boolean } | undefined> {
    const { id = newKeyText(), tenant, url, description, types, accounts, batchMax } = made
    const rows = await this.#query<ReceiverRow>(
      `with made as (
         insert into daybook_webhooks.receiver
           (id, tenant, url, description, types, accounts, batch_max, state)
         select $1, $2, $3, $4, $5, $6, $7, 'active'
         where (select count(*) from daybook_webhooks.receiver where tenant = $2) < $8
         on conflict (id) do nothing returning ${receiverColumns}),
       placed as (
         insert into daybook_webhooks.position (receiver, stream, seq)
         select made.id, s.id, s.head from made cross join daybook.stream s where not $9)
       select * from made`,
      [
        ...[id, tenant, url, description ?? null, types ?? null, accounts ?? null, batchMax],
        ...[receiversOfTenantMax, made.fromBeginning],
      ],
    )
    if (rows.length > 0) return { receiver: receiverFrom(rows[0]), isNew: true }
    const known = made.id === undefined ? undefined : await this.#ofAnyTenant(made.id)
    return known && { receiver: known, isNew: false }
  }

  /** Those of a tenant, oldest first. */
  async list(tenant: number): Promise<Receiver[]> {
    const rows = await this.#query<ReceiverRow>(
      `select ${receiverColumns} from daybook_webhooks.receiver where tenant = $1
       order by created_at, id`,
      [tenant],
    )
    return rows.map(receiverFrom)
  }

  async find(tenant: number, id: string): Promise<Receiver | undefined> {
    const receiver = await this.#ofAnyTenant(id)
    return receiver?.tenant === tenant ? receiver : undefined
  }

  /** The receiver as it is then; undefined if there is none. Made active it goes on where it was. */
  async change(
    tenant: number,
    id: string,
    changes: ReceiverChanges,
  ): Promise<Receiver | undefined> {
    const { url, description, types, accounts, batchMax, state } = changes
    const rows = await this.#query<ReceiverRow>(
      `update daybook_webhooks.receiver set
         url = coalesce($3, url),
         description = case when $4 then $5 else description end,
         types = case when $6 then $7::text[] else types end,
         accounts = case when $8 then $9::uuid[] else accounts end,
         batch_max = coalesce($10, batch_max),
         state = coalesce($11, state),
         reason = case when $11 is null then reason end,
         changed_at = clock_timestamp()
       where tenant = $1 and id = $2 returning ${receiverColumns}`,
      [
        ...[tenant, id, url ?? null, description !== undefined, description ?? null],
        ...[types !== undefined, types ?? null, accounts !== undefined, accounts ?? null],
        ...[batchMax ?? null, state ?? null],
      ],
    )
    return rows[0] && receiverFrom(rows[0])
  }

  /** Begins the next generation of its secret. */
  async rotate(tenant: number, id: string): Promise<Receiver | undefined> {
    const rows = await this.#query<ReceiverRow>(
      `update daybook_webhooks.receiver
       set generation = generation + 1, rotated_at = clock_timestamp(),
         changed_at = clock_timestamp()
       where tenant = $1 and id = $2 returning ${receiverColumns}`,
      [tenant, id],
    )
    return rows[0] && receiverFrom(rows[0])
  }

  /** Removes it with all that belongs to it; false if there was none. */
  async remove(tenant: number, id: string): Promise<boolean> {
    const rows = await this.#query(
      'delete from daybook_webhooks.receiver where tenant = $1 and id = $2 returning id',
      [tenant, id],
    )
    return rows.length > 0
  }

  /** Newest first; `before` is the id of the last one that was seen. */
  async attempts(
    receiver: string,
    { before, limit }: { before: number | undefined; limit: number },
  ): Promise<LoggedAttempt[]> {
    const rows = await this.#query<AttemptRow>(
      `select * from daybook_webhooks.delivery
       where receiver = $1 and ($2::bigint is null or id < $2) order by id desc limit $3`,
      [receiver, before ?? null, limit],
    )
    return rows.map(({ id, at, events, attempt, outcome, status, error, ...row }) => ({
      ...{ id, atMs: at.getTime(), events, attempt, outcome },
      ...{ firstEvent: row.first_event, lastEvent: row.last_event, durationMs: row.duration_ms },
      ...{ status: status ?? undefined, error: error ?? undefined },
    }))
  }

  /** Oldest first; `after` is the id of the last one that was seen. */
  async deadLetters(
    receiver: string,
    { after, limit }: { after: number | undefined; limit: number },
  ): Promise<DeadLetter[]> {
    const rows = await this.#query<DeadLetterRow>(
      `select * from daybook_webhooks.dead_letter
       where receiver = $1 and id > $2 order by id limit $3`,
      [receiver, after ?? 0, limit],
    )
    return rows.map(({ id, event, attempts, status, error, ...row }) => ({
      ...{ id, event, attempts, status: status ?? undefined, error: error ?? undefined },
      ...{ firstMs: row.first_at.getTime(), lastMs: row.last_at.getTime() },
      isResending: row.resend_at !== null,
    }))
  }

  /** Has dead letters sent again, all of them or those with these ids; says how many. */
  async resend(receiver: string, ids: readonly string[] | undefined): Promise<number> {
    const rows = await this.#query(
      `update daybook_webhooks.dead_letter set resend_at = clock_timestamp()
       where receiver = $1 and ($2::bigint[] is null or id = any($2)) and resend_at is null
       returning id`,
      [receiver, ids ?? null],
    )
    return rows.length
  }

  /** Forgets dead letters, all of them or those with these ids; says how many. */
  async discard(receiver: string, ids: readonly string[] | undefined): Promise<number> {
    const rows = await this.#query(
      `delete from daybook_webhooks.dead_letter
       where receiver = $1 and ($2::bigint[] is null or id = any($2)) returning id`,
      [receiver, ids ?? null],
    )
    return rows.length
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #ofAnyTenant(id: string): Promise<Receiver | undefined> {
    const rows = await this.#query<ReceiverRow>(
      `select ${receiverColumns} from daybook_webhooks.receiver where id = $1`,
      [id],
    )
    return rows[0] && receiverFrom(rows[0])
  }

  async #query<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    if (this.#pool.waitingCount >= waitingMax) {
      throw new WebhookStoreFault('too_many_reads', 'too many requests wait for the webhooks')
    }
    try {
      if (!this.#isReady) await this.#prepare()
      return (await this.#pool.query<Row>(text, values)).rows
    } catch (error) {
      throw asFault(error as Error)
    }
  }

  async #prepare(): Promise<void> {
    const client = await this.#pool.connect()
    try {
      await ensureWebhookSchema(client)
      this.#isReady = true
    } finally {
      client.release(!this.#isReady)
    }
  }
}

interface AttemptRow {
  id: string
  at: Date
  first_event: string
  last_event: string
  events: number
  attempt: number
  outcome: OutcomeKind
  status: number | null
  error: string | null
  duration_ms: number
}

interface DeadLetterRow {
  id: string
  event: WebhookEvent
  attempts: number
  status: number | null
  error: string | null
  first_at: Date
  last_at: Date
  resend_at: Date | null
}

/** Postgres went away, or is not there: SQLSTATE classes, or an error that is not its own. */
const awayStates = /^(08|53|57)/

function asFault(error: Error & { code?: string }): Error {
  const { code } = error
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !awayStates.test(code)) return error
  return new WebhookStoreFault('webhooks_unavailable', 'the webhooks cannot be reached', error)
}
