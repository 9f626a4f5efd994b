import { Packr } from 'msgpackr'
import { Client } from 'pg'

/** Transfers that a database holds; amounts in minor units. */
export interface Tally {
  transfers: number
  amount: bigint
  /** What took effect on debited and on credited accounts; each equals the amount. */
  debited: bigint
  credited: bigint
  /** Records that hold them. */
  records: number
}

/** Reads what a database has recorded since it was last asked. */
export interface Books {
  /** Transfers recorded since the last call. */
  advance(): Promise<Tally>
  close(): Promise<void>
}

const CHUNKS_PER_QUERY = 2000
const HEADER_BYTES = 64
const KIND_POSTING = 1
/** account_created and account_changed: they move nothing. */
const KINDS_OF_ACCOUNTS = [7, 8]
/** What a posting of another stream does to accounts of this one. */
const KIND_POSTING_APPLIED = 9
/** What any other record of another stream does here; its body says of which kind that is. */
const KIND_APPLIED = 10
/** A side of a posting that takes effect in another stream, in two bits of the flags for each side. */
const SIDE_ELSEWHERE = 1

const packr = new Packr({ useRecords: false })

/**
 * Reads Daybook's journal: every chunk, every record, by the layout in docs and not by Daybook's
 * own code. Throws if sequence numbers have a gap, or a chunk does not hold as many records as it
 * says. It is the table itself that is read, not the view over it, which takes a minute for what
 * this takes a second for.
 */
export class Journal implements Books {
  private readonly nextSeqs = new Map<number, bigint>()

  private constructor(private readonly client: Client) {}

  static async open(connectionString: string): Promise<Journal> {
    return new Journal(await connect(connectionString))
  }

  async advance(): Promise<Tally> {
    const tally: Tally = { transfers: 0, amount: 0n, debited: 0n, credited: 0n, records: 0 }
    const { rows } = await this.client.query<{ id: number }>('SELECT id FROM daybook.stream')
    for (const { id } of rows) {
      while (await this.readChunks(id, tally)) {
        // Goes on until a query comes back empty.
      }
    }
    return tally
  }

  /** Streams that are written to: one for each shard. */
  async countOpenStreams(): Promise<number> {
    const { rows } = await this.client.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM daybook.stream WHERE NOT closed',
    )
    return rows[0].n
  }

  close(): Promise<void> {
    return this.client.end()
  }

  /** Adds the next chunks of a stream to the tally; false at its end. */
  private async readChunks(stream: number, tally: Tally): Promise<boolean> {
    let nextSeq = this.nextSeqs.get(stream) ?? 1n
    const query = {
      name: 'chunks',
      text: `SELECT first_seq::text, part, n, payload FROM daybook.journal
             WHERE stream = $1 AND first_seq >= $2 ORDER BY journal.first_seq, part
             LIMIT ${CHUNKS_PER_QUERY}`,
      values: [stream, nextSeq.toString()],
      rowMode: 'array' as const,
    }
    const { rows } = await this.client.query<[string, number, number, Buffer]>(query)
    for (const [firstSeq, part, n, payload] of rows) {
      if (BigInt(firstSeq) !== nextSeq || part !== 0) {
        throw new Error(`stream ${stream}: expected chunk ${nextSeq}, found ${firstSeq}/${part}`)
      }
      addRecords(payload, n, tally)
      nextSeq += BigInt(n)
    }
    this.nextSeqs.set(stream, nextSeq)
    return rows.length > 0
  }
}

function addRecords(payload: Buffer, n: number, tally: Tally): void {
  let records = 0
  for (let at = 0; at < payload.length; ) {
    const length = payload.readUInt32LE(at + 4)
    if (length < HEADER_BYTES) throw new Error(`a record of ${length} bytes`)
    addRecord(payload.subarray(at, at + length), tally)
    records++
    at += Math.ceil(length / 8) * 8
  }
  if (records !== n) throw new Error(`a chunk of ${records} records that says it has ${n}`)
  tally.records += records
}

/**
 * A transfer is counted where its home record is. Its sides are counted in the record that lets
 * them take effect: the home record, or the applied record of another stream.
 */
function addRecord(record: Buffer, tally: Tally): void {
  const kind = record[0]
  if (kind === KIND_POSTING || kind === KIND_POSTING_APPLIED) {
    const amount = record.readBigInt64LE(96)
    const sides = record.readUInt16LE(2) >>> 2
    if (kind === KIND_POSTING) {
      tally.transfers++
      tally.amount += amount
    }
    if ((sides & 3) !== SIDE_ELSEWHERE) tally.debited += amount
    if (((sides >>> 2) & 3) !== SIDE_ELSEWHERE) tally.credited += amount
    return
  }
  const of = kind === KIND_APPLIED ? kindApplied(record) : kind
  if (!KINDS_OF_ACCOUNTS.includes(of)) {
    throw new Error(`a record of kind ${kind} (of ${of}), which no workload writes`)
  }
}

function kindApplied(record: Buffer): number {
  const body: { of: number } = packr.unpack(record.subarray(HEADER_BYTES))
  return body.of
}

/** Counts and sums the peer's transfers. */
export class TransfersTable implements Books {
  private seen = { transfers: 0, amount: 0n }

  private constructor(private readonly client: Client) {}

  static async open(connectionString: string): Promise<TransfersTable> {
    return new TransfersTable(await connect(connectionString))
  }

  async advance(): Promise<Tally> {
    const { rows } = await this.client.query<{ n: string; amount: string }>(
      'SELECT count(*) AS n, coalesce(sum(amount), 0)::bigint AS amount FROM transfers',
    )
    const before = this.seen
    this.seen = { transfers: Number(rows[0].n), amount: BigInt(rows[0].amount) }
    const transfers = this.seen.transfers - before.transfers
    const amount = this.seen.amount - before.amount
    // A transfer is one row here, and moves both balances or none.
    return { transfers, amount, debited: amount, credited: amount, records: transfers }
  }

  close(): Promise<void> {
    return this.client.end()
  }
}

async function connect(connectionString: string): Promise<Client> {
  const client = new Client({ connectionString })
  await client.connect()
  return client
}
