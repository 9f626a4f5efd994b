import type { Positions } from '../actors/let-go.js'
import type { AskedTransaction, FindTransactions, RecalledTransaction } from '../actors/recall.js'
import type { TransactionState } from '../actors/transactions.js'
import type { Database, DatabaseConnection } from '../journal/database.js'
import { formatKey } from '../key.js'
import { isOfJournalSql } from './history-store.js'

/**
 * Finds transactions in the read models of a database, over a connection that is opened when it is
 * first needed and again after an error. Rejects if the read models are not there, are being built,
 * or do not cover what was let go.
 */
export class HistoryFinder {
  readonly #database: Database
  #connected: Promise<DatabaseConnection> | undefined

  constructor(database: Database) {
    this.#database = database
  }

  readonly find: FindTransactions = async (asked, coverage) => {
    this.#connected ??= this.#database.connect({ name: 'daybook old ids', prepare })
    const connected = this.#connected
    try {
      return await findTransactions(await connected, asked, coverage)
    } catch (error) {
      if (this.#connected === connected) this.close()
      throw error
    }
  }

  /** Ends the connection; the next question opens one again. */
  close(): void {
    this.#connected?.then((connection) => connection.close()).catch(() => undefined)
    this.#connected = undefined
  }
}

/**
 * One plan fits all ids, and making it takes longer than carrying it out. A partition that is empty
 * when it is made will not stay so: all are read by index.
 */
async function prepare(connection: DatabaseConnection): Promise<void> {
  await connection.query('set plan_cache_mode = force_generic_plan; set enable_seqscan = off')
}

/** Why the read models cannot say whether an id was used. */
class NotCoveredError extends Error {
  readonly code = 'not_covered'
}

async function findTransactions(
  connection: DatabaseConnection,
  asked: readonly AskedTransaction[],
  coverage: Positions,
): Promise<(RecalledTransaction | undefined)[]> {
  const tenants = asked.map(({ tenant }) => tenant)
  const ids = asked.map(({ key }) => formatKey(key))
  const { rows } = await connection.query<FoundRow>(text, [tenants, ids], 'history-old-ids')
  assertCovered(rows[0], coverage)
  return rows.map(recalledOf)
}

/** In one statement, and so of one moment: a row that is not there was not there by that progress. */
const text = `
  select h.indexed, h.is_of_journal, h.progress, h.closed_behind, t.state, t.stream, t.seq, t.fingerprint
  from (
    select
      (select indexed from daybook_history.about) as indexed,
      (select ${isOfJournalSql}) as is_of_journal,
      (select json_object_agg(stream, seq) from daybook_history.progress) as progress,
      (select count(*) from daybook.stream s left join daybook_history.progress p on p.stream = s.id
       where s.closed and coalesce(p.seq, 0) < s.head) as closed_behind
  ) h
  cross join unnest($1::int[], $2::uuid[]) with ordinality as asked (tenant, id, place)
  left join lateral (
    select state, stream, seq, fingerprint from daybook_history.transaction
    where tenant = asked.tenant and id = asked.id limit 1
  ) t on true
  order by asked.place`

interface FoundRow {
  indexed: boolean
  is_of_journal: boolean
  /** Seqs by stream. */
  progress: Record<string, number> | null
  /** Streams of earlier generations that have not been followed to their end. */
  closed_behind: string
  state: number | null
  stream: number
  seq: string
  fingerprint: string
}

function assertCovered(row: FoundRow, coverage: Positions): void {
  const { indexed, progress, closed_behind: closedBehind } = row
  if (!indexed) throw new NotCoveredError('the read models are being built')
  if (!row.is_of_journal) throw new NotCoveredError('the read models are of another journal')
  const behind = [...coverage].find(([stream, seq]) => (progress?.[stream] ?? 0) < seq)
  if (behind !== undefined || Number(closedBehind) > 0) {
    throw new NotCoveredError('the read models do not hold everything that was let go')
  }
}

function recalledOf({ state, stream, seq, fingerprint }: FoundRow) {
  if (state === null) return undefined
  const bits = BigInt.asUintN(64, BigInt(fingerprint))
  return {
    state: state as TransactionState,
    fingerprint: { low: Number(bits & 0xffffffffn), high: Number(bits >> 32n) },
    stream,
    seq: Number(seq),
  }
}
