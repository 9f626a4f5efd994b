import { Client } from 'pg'

/** Transfers that a database holds; the amount in minor units. */
export interface Tally {
  transfers: number
  amount: bigint
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
    const tally: Tally = { transfers: 0, amount: 0n }
    const { rows } = await this.client.query<{ id: number }>('SELECT id FROM daybook.stream')
    for (const { id } of rows) {
      while (await this.readChunks(id, tally)) {
        // Goes on until a query comes back empty.
      }
    }
    return tally
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
    const kind = payload[at]
    const length = payload.readUInt32LE(at + 4)
    if (length < HEADER_BYTES) throw new Error(`a record of ${length} bytes`)
    if (kind === KIND_POSTING) {
      tally.transfers++
      tally.amount += payload.readBigInt64LE(at + 96)
    } else if (!KINDS_OF_ACCOUNTS.includes(kind)) {
      throw new Error(`a record of kind ${kind}, which no workload writes`)
    }
    records++
    at += Math.ceil(length / 8) * 8
  }
  if (records !== n) throw new Error(`a chunk of ${records} records that says it has ${n}`)
}

/** Counts and sums the peer's transfers. */
export class TransfersTable implements Books {
  private seen: Tally = { transfers: 0, amount: 0n }

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
    return {
      transfers: this.seen.transfers - before.transfers,
      amount: this.seen.amount - before.amount,
    }
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
