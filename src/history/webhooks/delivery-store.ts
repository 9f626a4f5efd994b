import type { Queries } from '../../journal/database.js'
import { attemptsKeptMax, type TakenNotes } from './delivery-notes.js'
import type { StreamHead, StreamPlace } from './event-source.js'
import { type Receiver, type ReceiverRow, receiverColumns, receiverFrom } from './receiver.js'
import type { WebhookEvent } from './webhook-event.js'

/** What the thread that delivers reads and writes; receiver-store.ts is the other side. */

/** A receiver with so many is disabled: somebody has to look. */
export const deadLettersMax = 10_000
const attemptsKeptDays = 7
/** Of a receiver, that are taken at a time. */
const lettersAtOnce = 100

export async function readStreams(connection: Queries): Promise<StreamHead[]> {
  const { rows } = await connection.query<{
    id: number
    generation: number
    closed: boolean
    head: string
  }>('select id, generation, closed, head from daybook.stream order by generation, id')
  return rows.map(({ id, generation, closed, head }) => {
    return { stream: id, generation, isClosed: closed, head: Number(head) }
  })
}

/** All receivers, in whatever state. */
export async function readReceivers(connection: Queries): Promise<Receiver[]> {
  const { rows } = await connection.query<ReceiverRow>(
    `select ${receiverColumns} from daybook_webhooks.receiver order by id`,
  )
  return rows.map(receiverFrom)
}

/**
 * How far a receiver has come in each stream. A stream that began after the receiver was made is
 * delivered from its beginning.
 */
export async function readPlaces(connection: Queries, receiver: string): Promise<StreamPlace[]> {
  const { rows } = await connection.query<{
    stream: number
    seq: string | null
    digest: Buffer | null
  }>(
    `select s.id as stream, p.seq, p.digest
     from daybook.stream s
     left join daybook_webhooks.position p on p.receiver = $1 and p.stream = s.id
     order by s.id`,
    [receiver],
  )
  return rows.map(({ stream, seq, digest }) => {
    return { stream, seq: Number(seq ?? 0), digest: digest ?? undefined }
  })
}

/** A dead letter that is to be sent again. */
export interface Letter {
  receiver: string
  id: string
  event: WebhookEvent
  attempts: number
  /** When that was asked for: asked again, it is another letter. */
  askedAt: string
}

export async function readLetters(connection: Queries): Promise<Letter[]> {
  const { rows } = await connection.query<Omit<Letter, 'askedAt'> & { resend_at: Date }>(
    `select l.receiver, l.id, l.event, l.attempts, l.resend_at
     from daybook_webhooks.receiver r cross join lateral (
       select * from daybook_webhooks.dead_letter
       where receiver = r.id and resend_at is not null order by id limit ${lettersAtOnce}) l
     where r.state = 'active' order by l.id`,
  )
  return rows.map(({ resend_at, ...letter }) => ({ ...letter, askedAt: resend_at.toISOString() }))
}

export async function countDeadLetters(connection: Queries): Promise<number> {
  const { rows } = await connection.query<{ count: string }>(
    'select count(*) from daybook_webhooks.dead_letter',
  )
  return Number(rows[0].count)
}

/** Writes all notes in one transaction; those of a receiver that is gone come to nothing. */
export async function saveNotes(connection: Queries, notes: TakenNotes): Promise<void> {
  await connection.query('begin')
  try {
    // Who is locked cannot be removed before the commit, and nothing refers to who has been.
    const receivers = [...notes.positions, ...notes.attempts, ...notes.deadLetters]
    await connection.query(
      'select from daybook_webhooks.receiver where id = any($1) order by id for key share',
      [[...new Set(receivers.map(({ receiver }) => receiver))]],
    )
    await savePositions(connection, notes.positions)
    await saveAttempts(connection, notes.attempts)
    await saveDeadLetters(connection, notes.deadLetters)
    await saveResent(connection, notes.resent)
    for (const [receiver, reason] of notes.disabled) {
      await connection.query(
        `update daybook_webhooks.receiver
         set state = 'disabled', reason = $2, changed_at = clock_timestamp()
         where id = $1 and state = 'active'`,
        [receiver, reason],
      )
    }
    await connection.query('commit')
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

/** Takes away what the log no longer keeps. */
export async function trimAttempts(connection: Queries): Promise<void> {
  await connection.query(
    `delete from daybook_webhooks.delivery d using daybook_webhooks.receiver r
     where d.receiver = r.id and (
       d.at < clock_timestamp() - interval '${attemptsKeptDays} days'
       or d.id <= (select id from daybook_webhooks.delivery
                   where receiver = r.id order by id desc offset ${attemptsKeptMax} limit 1))`,
  )
}

/** A position never goes back. */
async function savePositions(connection: Queries, notes: TakenNotes['positions']): Promise<void> {
  if (notes.length === 0) return
  await connection.query(
    `insert into daybook_webhooks.position as p (receiver, stream, seq, digest)
     select n.receiver, n.stream, n.seq, n.digest
     from unnest($1::uuid[], $2::int[], $3::bigint[], $4::bytea[]) n (receiver, stream, seq, digest)
     join daybook_webhooks.receiver r on r.id = n.receiver
     on conflict (receiver, stream) do update set seq = excluded.seq, digest = excluded.digest
     where p.seq <= excluded.seq`,
    [
      notes.map(({ receiver }) => receiver),
      notes.map(({ stream }) => stream),
      notes.map(({ seq }) => seq),
      notes.map(({ digest }) => digest ?? null),
    ],
  )
}

async function saveAttempts(connection: Queries, notes: TakenNotes['attempts']): Promise<void> {
  if (notes.length === 0) return
  await connection.query(
    `insert into daybook_webhooks.delivery
       (receiver, at, first_event, last_event, events, attempt, outcome, status, error, duration_ms)
     select n.receiver, to_timestamp(n.at / 1000), n.first_event, n.last_event, n.events, n.attempt,
       n.outcome, n.status, n.error, n.duration_ms
     from unnest($1::uuid[], $2::double precision[], $3::text[], $4::text[], $5::int[], $6::int[],
       $7::text[], $8::int[], $9::text[], $10::int[]) with ordinality n
       (receiver, at, first_event, last_event, events, attempt, outcome, status, error, duration_ms,
        place)
     join daybook_webhooks.receiver r on r.id = n.receiver order by n.place`,
    [
      notes.map(({ receiver }) => receiver),
      notes.map(({ atMs }) => atMs),
      notes.map(({ firstEvent }) => firstEvent),
      notes.map(({ lastEvent }) => lastEvent),
      notes.map(({ events }) => events),
      notes.map(({ attempt }) => attempt),
      notes.map(({ outcome }) => outcome),
      notes.map(({ status }) => status ?? null),
      notes.map(({ error }) => error ?? null),
      notes.map(({ durationMs }) => Math.round(durationMs)),
    ],
  )
}

/** After a crash an event may become a dead letter once more; it stays one. */
async function saveDeadLetters(
  connection: Queries,
  notes: TakenNotes['deadLetters'],
): Promise<void> {
  for (const { receiver, event, attempts, status, error, firstMs, lastMs } of notes) {
    await connection.query(
      `insert into daybook_webhooks.dead_letter
         (receiver, event_id, event, attempts, status, error, first_at, last_at)
       select r.id, $2, $3::json, $4, $5, $6, to_timestamp($7 / 1000.0), to_timestamp($8 / 1000.0)
       from daybook_webhooks.receiver r where r.id = $1
       on conflict (receiver, event_id) do update set
         attempts = excluded.attempts, status = excluded.status, error = excluded.error,
         last_at = excluded.last_at`,
      [
        ...[receiver, event.id, JSON.stringify(event), attempts],
        ...[status ?? null, error ?? null, firstMs, lastMs],
      ],
    )
  }
  const receivers = [...new Set(notes.map(({ receiver }) => receiver))]
  if (receivers.length === 0) return
  await connection.query(
    `update daybook_webhooks.receiver r
     set state = 'disabled', reason = 'too_many_dead_letters', changed_at = clock_timestamp()
     where id = any($1) and state = 'active'
       and (select count(*) from daybook_webhooks.dead_letter where receiver = r.id) >= $2`,
    [receivers, deadLettersMax],
  )
}

async function saveResent(connection: Queries, notes: TakenNotes['resent']): Promise<void> {
  for (const { receiver, id, isDelivered, status, error, atMs } of notes) {
    if (isDelivered) {
      await connection.query(
        'delete from daybook_webhooks.dead_letter where receiver = $1 and id = $2',
        [receiver, id],
      )
      continue
    }
    await connection.query(
      `update daybook_webhooks.dead_letter
       set attempts = attempts + 1, status = $3, error = $4, last_at = to_timestamp($5 / 1000.0),
         resend_at = null
       where receiver = $1 and id = $2`,
      [receiver, id, status ?? null, error ?? null, atMs],
    )
  }
}
