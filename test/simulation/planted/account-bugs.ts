import { bug, type PlantedBug } from './planted-bug.js'

/** Faults in conditions, reservations, accounts and ids. */
const actors = 'src/actors'
const coordination = 'src/actors/coordination'

const reservations: PlantedBug[] = [
  bug(
    'version not held while undecided',
    'an account may be posted to while a condition on its version is undecided',
    `${coordination}/sides-judge.js`,
    'entry.holdsVersion = true;',
    '',
  ),
  bug(
    'condition not looked at across shards',
    'a shard does not compare versions for another home',
    `${coordination}/sides-judge.js`,
    'if (book.accounts.version.get(row) + entry.touches !== readInteger(words, at + 4))',
    'if (false)',
  ),
  bug(
    'condition on what is reserved',
    'a condition holds although an undecided transaction will touch the account',
    `${coordination}/sides-judge.js`,
    'if (entry.isReserved)',
    'if (false)',
  ),
  bug(
    'condition looked at locally only once',
    'a condition of a transaction of one shard is met by any version that is not greater',
    `${actors}/transaction-decision.js`,
    'if (version !== readInteger(words, word + 4))',
    'if (version < readInteger(words, word + 4))',
  ),
  bug(
    'reservation given back twice',
    'what a shard has reserved is given back twice',
    `${coordination}/participant.js`,
    'reservations.release(held.amounts);',
    'reservations.release(held.amounts); if (!reservations.isEmpty) reservations.release(held.amounts.filter(({ row }) => reservations.get(row) !== undefined));',
  ),
  bug(
    'limits changed while reserved',
    'a change of an account does not wait for what is reserved of it',
    `${actors}/account-executor.js`,
    'book.reservations.whenFree(row, () => this.#changeFree(alone, 0, row));',
    'this.#changeFree(alone, 0, row);',
  ),
  bug(
    'reserved at its end, not at its lowest',
    'an atomic batch reserves what it takes in the end',
    `${actors}/draft.js`,
    'const lowest = entry.lowest !== undefined && entry.lowest < end ? entry.lowest : end;',
    'const lowest = end;',
  ),
  bug(
    'waiting commands woken one by one',
    'of those who wait for an id only the first goes on',
    `${actors}/under-way.js`,
    'for (const { task, items } of entry.waiting) {',
    'for (const { task, items } of entry.waiting.slice(0, 1)) {',
  ),
  bug(
    'refusal of a coordination rests on nothing',
    'home refuses for what its own accounts hold before that is durable',
    `${coordination}/transaction-coordination.js`,
    'const restsOn = Math.max(this.#restsOn, this.#bench.restsOn(decision));',
    'const restsOn = 0;',
  ),
]

const accounts: PlantedBug[] = [
  bug(
    'minimum balance not looked at',
    'the minimum balance of an account binds nobody',
    `${actors}/draft.js`,
    'const least = minimum - overdraft;',
    'const least = -overdraft;',
  ),
  bug(
    'dormant account posted to',
    'postings to dormant accounts are accepted',
    `${actors}/transaction-decision.js`,
    'if (worst === 0)',
    'if (worst <= 1)',
  ),
  {
    name: 'frozen account posted to across shards',
    what: 'the status of accounts of other shards is not looked at, unless closed',
    patches: [
      {
        file: `${coordination}/item-judge.js`,
        from: 'if (worst !== 0)',
        to: 'if (worst > 2)',
      },
      {
        file: `${coordination}/sides-judge.js`,
        from: 'if (status !== 0 && !isSettled)',
        to: 'if (status > 2 && !isSettled)',
      },
    ],
  },
  bug(
    'closed with money in it',
    'the balance of an account that is closed is not looked at',
    `${actors}/account-decision.js`,
    'if (balanceOf(counters, debitNormal) !== 0n)',
    'if (false)',
  ),
  bug(
    'closed with holds on it',
    'pending holds on an account that is closed are not looked at',
    `${actors}/account-decision.js`,
    'if (totals.holds > 0)',
    'if (false)',
  ),
  bug(
    'limit lowered below the balance',
    'a limit can be moved beyond what the account has',
    `${actors}/account-decision.js`,
    'if (raised && available < after)',
    'if (false)',
  ),
  bug(
    'metadata added, not replaced',
    'new metadata of an account is put beside the old',
    `${actors}/apply-account.js`,
    'metadata: body.metadata }',
    'metadata: { ...accounts.details.get(row)?.metadata, ...body.metadata } }',
  ),
  bug(
    'metadata lost at rebuild',
    'changes of metadata in earlier generations are forgotten',
    `${actors}/apply-account.js`,
    'if (body.metadata !== undefined)',
    'if (body.metadata !== undefined && book.rebuild === undefined)',
  ),
  bug(
    'status lost at rebuild',
    'changes of status in earlier generations are forgotten',
    `${actors}/apply-account.js`,
    'if (body.status !== undefined)',
    'if (body.status !== undefined && book.rebuild === undefined)',
  ),
  bug(
    'minimum balance set to zero by any change',
    'a change of limits forgets the minimum balance',
    `${actors}/apply-account.js`,
    'if (body.minimumBalance !== undefined)',
    'if (body.overdraftLimit !== undefined) accounts.minimumBalance.set(row, 0n);\n    if (body.minimumBalance !== undefined)',
  ),
  bug(
    'currencies mixed across shards',
    'a posting over two shards may be between accounts of different currencies',
    `${coordination}/item-judge.js`,
    'if (debit.word0 !== credit.word0 ||',
    'if (false && debit.word0 !== credit.word0 ||',
  ),
  bug(
    'turnover not bounded',
    'the lifetime turnover of an account may leave 64 bits',
    `${actors}/draft.js`,
    'if (turnover > turnoverMax)',
    'if (false)',
  ),
  bug(
    'imported flag lost across shards',
    'another shard is not told that a posting is imported history',
    `${coordination}/planned-item.js`,
    '((flags & RecordFlag.imported) === 0 ? 0 : importedEffectFlag)',
    '0',
  ),
  bug(
    'imported history for everybody',
    'a hold is exempt from limits as imported history is',
    `${actors}/draft.js`,
    'effect.imported ?',
    'effect.imported || effect.pending ?',
  ),
  bug(
    'version moved twice',
    'a transaction that touches an account with two postings moves its version twice',
    `${actors}/accounts.js`,
    'if (this.touchedSeq.get(row) === seq)',
    'if (false)',
  ),
]

const ids: PlantedBug[] = [
  bug(
    'follow-up forgotten at a change of N',
    'ids of posts, voids and reversals of an earlier generation are not remembered',
    `${actors}/apply.js`,
    'if (ownState !== undefined)',
    'if (ownState !== undefined && book.rebuild === undefined)',
  ),
  bug(
    'replayed with the record of a participant',
    'an id that lives elsewhere is remembered at the position of the applied record',
    `${actors}/apply.js`,
    'const [stream, madeSeq] = body.cause ?? [book.stream, seq];',
    'const [stream, madeSeq] = [book.stream, seq];',
  ),
  bug(
    'repeat refused as overdue',
    'a repeat that has waited too long is refused although its first attempt is accepted',
    `${actors}/executor.js`,
    'return (book.transactions.find(tenant, id) >= 0 ||',
    'return false && (book.transactions.find(tenant, id) >= 0 ||',
  ),
  bug(
    'repeat decided anew while under way',
    'a repeat does not join its first attempt but is decided again',
    `${actors}/transaction-executor.js`,
    'if (!underWay.has(tenant, words, at + Word.id))',
    'if (true)',
  ),
  bug(
    'unanswered counted for ever',
    'a request that was given up goes on counting as under way',
    `${actors}/router.js`,
    'this.#inFlightCommands -= pending.commands;',
    `if (outcome.kind !== 'unanswered') this.#inFlightCommands -= pending.commands;`,
  ),
]

export const accountBugs: readonly PlantedBug[] = [...reservations, ...accounts, ...ids]
