import type { Queries } from '../journal/database.js'
import type { Finding } from './finding.js'

/**
 * Rows of the journal that reading the streams from 1 to their heads never meets: before the first
 * seq, beyond the head, or of a stream that the book does not have. One statement sees heads and
 * rows of one moment, so that what a server commits meanwhile is no finding. Each look-up goes down
 * the primary key.
 */
export async function findStrayRows(connection: Queries): Promise<Finding[]> {
  const { rows } = await connection.query<{ stream: number; seq: string; head: string | null }>(
    `with known as (select id, head, lead(id) over (order by id) as next from daybook.stream)
     select id as stream, head, seq from known
       cross join lateral (
         select min(first_seq) as seq from daybook.journal where stream = id and first_seq < 1
         union all
         select min(first_seq) from daybook.journal where stream = id and first_seq > head) stray
       where seq is not null
     union all
     select stray.stream, null, first_seq from (
         select (select min(stream) from daybook.journal
                 where stream < (select min(id) from known)) as stream
         union all
         select (select min(stream) from daybook.journal
                 where stream > id and (next is null or stream < next))
         from known where next is null or next > id + 1) stray
       cross join lateral (
         select min(first_seq) as first_seq from daybook.journal j where j.stream = stray.stream) j
       where stray.stream is not null`,
  )
  return rows.map(({ stream, seq, head }) => ({
    ...{ stream, seq: Number(seq), lastSeq: Number(seq), code: 'inserted' },
    what:
      head === null
        ? 'the book has no such stream'
        : `a chunk at ${seq}, and the records of the stream are 1 to ${head}`,
  }))
}
