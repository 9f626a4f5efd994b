import { bug, type PlantedBug } from './planted-bug.js'

/** Faults of snapshots: of making them, and of starting from them. */
const snapshots = 'src/snapshots'

export const snapshotBugs: readonly PlantedBug[] = [
  bug(
    'snapshot without holds',
    'a start from a snapshot forgets the holds that were pending',
    `${snapshots}/load-book.js`,
    'this.#loadHolds(block);',
    'void block;',
  ),
  bug(
    'snapshot without details',
    'a start from a snapshot forgets names and metadata',
    `${snapshots}/load-book.js`,
    'accounts.details.set(own, details[index + 1]);',
    'void details;',
  ),
  bug(
    'striped parts lost in another layout',
    'a start with other shards does not add up the parts of a striped account',
    `${snapshots}/load-book.js`,
    'this.#sumUp(table, striped, column);',
    'void 0;',
  ),
  bug(
    'seqs of another layout kept',
    'what a snapshot of other streams says of the last record of an account is believed',
    `${snapshots}/load-book.js`,
    'this.#forgetPart(own);',
    'void 0;',
  ),
  bug(
    'holds of others lost in another layout',
    'a start with other shards forgets the holds of ids that it does not own',
    `${snapshots}/load-book.js`,
    'rebuild.addHold(tenant, key, postings);',
    'void 0;',
  ),
  bug(
    'currencies mixed up',
    'a start with other shards takes the index of a currency for its own',
    `${snapshots}/load-book.js`,
    'if (currency !== codes[row])',
    'if (false)',
  ),
  bug(
    'damaged block believed',
    'the digest of a block is not compared',
    `${snapshots}/load-snapshot.js`,
    'assertBlock(snapshot, number, bytes);',
    'void 0;',
  ),
  bug(
    'damaged manifest believed',
    'the digest of a manifest is not compared',
    `${snapshots}/manifest.js`,
    'if (!digestOf(body).equals(bytes.subarray(digestAt, bodyAt)))',
    'if (false)',
  ),
  bug(
    'messages counted anew after a snapshot',
    'a start from a snapshot forgets which messages had been applied',
    'src/journal/message-counts.js',
    'counts.applied.set(from, message);',
    'void 0;',
  ),
  bug(
    'messages sent before a snapshot forgotten',
    'settling begins where the snapshot ends, although messages before it were cut off',
    `${snapshots}/build-snapshot.js`,
    'return settled ?? checkpoint;',
    'return { afterSeq: own.seq, sent: own.sent };',
  ),
  bug(
    'time runs back after a snapshot',
    'a start from a snapshot forgets the greatest time of its records',
    'src/actors/shard-recovery.js',
    'this.lastTimeMs = Math.max(this.lastTimeMs, lastTimeMs);',
    'void 0;',
  ),
  bug(
    'closed generation read twice',
    'a start from a snapshot of an earlier generation reads those before it again',
    'src/actors/shard-recovery.js',
    'closed.slice(index)',
    'closed',
  ),
  bug(
    'tail of a closed generation skipped',
    'a start from a snapshot of an earlier generation goes on with the next one',
    'src/actors/shard-recovery.js',
    'closed.slice(index)',
    'closed.slice(index + 1)',
  ),
  bug(
    'snapshot of a moment that never was',
    'a snapshot takes each stream as far as it has come when it is read',
    `${snapshots}/build-snapshot.js`,
    '{ ...plan, projected, upTo: of.ends }',
    'plan',
  ),
]
