import { bug, type PlantedBug } from './planted-bug.js'

/** Faults of letting transactions go, and of finding them again. */
const actors = 'src/actors'
const snapshots = 'src/snapshots'

export const letGoBugs: readonly PlantedBug[] = [
  bug(
    'old ids taken for new',
    'an id that is not in memory is new, whatever the filter says',
    `${actors}/recall.js`,
    'return !letGo.mayHave(tenant, words, at) || this.#underWay.has(tenant, words, at);',
    'return true;',
  ),
  bug(
    'v7 dates believed too much',
    'an id is new if it is dated after the first one that was let go',
    `${actors}/let-go.js`,
    'if (dateMs !== undefined && dateMs > this.newestIdMs)',
    'if (dateMs === undefined)',
  ),
  bug(
    'filter left out of snapshots',
    'a start from a snapshot does not know what had been let go',
    `${snapshots}/encode-book.js`,
    'yield* encodeLetGo(book);',
    'void encodeLetGo;',
  ),
  bug(
    'filter lost in another layout',
    'a start with other shards does not take over the filters of its slots',
    `${snapshots}/load-book.js`,
    'if (rebuild !== undefined && !this.#owns(slot))',
    'if (rebuild !== undefined)',
  ),
  bug(
    'pending holds let go',
    'a hold is let go while it is pending',
    `${actors}/let-go.js`,
    'return holds.get(row) !== undefined || reversing.has(row);',
    'return reversing.has(row);',
  ),
  bug(
    'row of a hold not moved with it',
    'a hold that stays in memory is looked for where it was',
    `${actors}/let-go.js`,
    'holds.move(row, renewed);',
    'void holds;',
  ),
  bug(
    'hollow rows taken for whole',
    'an old transaction that was reversed since a snapshot answers with the body of nothing',
    `${actors}/transactions.js`,
    'return this.seq.get(row) === 0;',
    'return false;',
  ),
  bug(
    'let go before it is projected',
    'transactions are let go before the read models have them',
    `${actors}/let-go.js`,
    'if (block === undefined || !isProjected(book, block))',
    'if (block === undefined)',
  ),
  bug(
    'target of a reversal not looked for',
    'a reversal of an old transaction finds nothing to reverse',
    `${actors}/transaction-executor.js`,
    '[at + Word.id, at + FollowUpWord.target]',
    '[at + Word.id]',
  ),
  bug(
    'claimed ids not looked for',
    'a shard that is asked for ids of an atomic batch takes old ones for new',
    `${actors}/coordination/participant.js`,
    'const claim = this.#bench.recalls.isSettled(tenant, words, word)',
    'const claim = true',
  ),
  bug(
    'chain of a cell broken',
    'what lies behind a removed cell of the index is not found any more',
    `${actors}/key-table.js`,
    'if (((next - home) & mask) >= ((next - hole) & mask)) {',
    'if (home < 0) {',
  ),
]
