import assert from 'node:assert/strict'
import { Book } from '../../src/actors/book.js'
import { bookDigest } from '../../src/actors/digest.js'
import { ShardRecovery } from '../../src/actors/shard-recovery.js'
import { digestChain } from '../../src/journal/digest.js'
import type { JournalStore } from '../../src/journal/session.js'
import type { BookLayout } from '../../src/journal/take-over.js'
import { plansOf } from '../../src/recovery.js'
import type { SnapshotManifest } from '../../src/snapshots/manifest.js'
import type { SnapshotStore } from '../../src/snapshots/store.js'
import { withClient } from './book-database.js'

/** The digest of {@link booksOfJournal}. */
export async function digestOfJournal(...of: Parameters<typeof booksOfJournal>): Promise<bigint> {
  return bookDigest(await booksOfJournal(...of))
}

/**
 * The books that a restart to `shards` shards would come to, from a snapshot if one is given; takes
 * nothing over.
 */
export async function booksOfJournal(
  book: BookLayout,
  store: JournalStore,
  shards: number,
  from?: { snapshot: SnapshotManifest; snapshots: SnapshotStore },
): Promise<Book[]> {
  const { layout } = book
  const read = plansOf(book, shards, from?.snapshot).map(async (plan) => {
    const limits = { accountsMax: 1000, transactionsMax: 100_000 }
    const shard = new Book([1, 2], limits, plan.place)
    const parts = {
      ...{ store, chain: digestChain(), onProgress: () => undefined },
      ...(from === undefined ? {} : { snapshots: from.snapshots }),
    }
    const recovery = new ShardRecovery(shard, plan, parts)
    await recovery.warmUp()
    recovery.finish(layout.streams[plan.place.shard] ?? 0, layout)
    return shard
  })
  return await Promise.all(read)
}

const doubledIds = `select id from daybook.records
  where kind in ('posting', 'transaction', 'hold_posted', 'hold_voided', 'reversal')
  group by id having count(*) > 1`
const postedTurnover = `select account, debits_posted_minor::text as debits,
  credits_posted_minor::text as credits from daybook.balances`

/** Asserts what the views of a quiet journal say of all its generations; `posted` is by key. */
export async function assertViews(
  connectionString: string,
  posted: ReadonlyMap<string, [debits: bigint, credits: bigint]>,
): Promise<void> {
  await withClient(connectionString, async (client) => {
    const unapplied = await client.query('select * from daybook.unapplied')
    assert.deepEqual(unapplied.rows, [], 'everything has been applied')
    const twice = await client.query(doubledIds)
    assert.deepEqual(twice.rows, [], 'no id has taken effect twice')
    const { rows } = await client.query<{ account: string; debits: string; credits: string }>(
      postedTurnover,
    )
    for (const { account, debits, credits } of rows) {
      assert.deepEqual([BigInt(debits), BigInt(credits)], posted.get(account), account)
    }
  })
}
