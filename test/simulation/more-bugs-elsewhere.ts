import type { PlantedBug } from './planted-bugs.js'

/** Faults in conditions, reservations, accounts, ids, recovery, the lease, the writer and take-over. */
const actors = 'src/actors'
const coordination = 'src/actors/coordination'
const journal = 'src/journal'

function bug(name: string, what: string, file: string, from: string, to: string): PlantedBug {
  return { name, what, patches: [{ file, from, to }] }
}

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
    'book.reservations.release(held.amounts);',
    'book.reservations.release(held.amounts); if (!book.reservations.isEmpty) book.reservations.release(held.amounts.filter(({ row }) => book.reservations.get(row) !== undefined));',
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
    'if (effect.imported)',
    'if (effect.imported || effect.pending)',
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
    'return book.transactions.find(tenant, id) >= 0 || underWay.has(tenant, words, at + Word.id);',
    'return false;',
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

const recovery: PlantedBug[] = [
  bug(
    'message numbers start again',
    'a restart forgets how many messages its stream has sent and applied',
    `${actors}/shard-recovery.js`,
    'return own.counts;',
    'return new MessageCounts(stream, layout);',
  ),
  bug(
    'time of the journal forgotten',
    'a restart starts with the time of the clock',
    `${actors}/shard.js`,
    'this.#lastTimeMs = this.#recovery.lastTimeMs;',
    '',
  ),
  bug(
    'settled at the time of the clock',
    'what a restart makes up for has the time of the clock, whatever the streams say',
    `${journal}/settlement.js`,
    'Math.max(parts.clock.now(), ...counts.map((stream) => stream.lastTimeMs))',
    'parts.clock.now()',
  ),
  bug(
    'settled from too late a checkpoint',
    'settling reads from where some shard, not every one, has applied all',
    `${journal}/settlement.js`,
    'sent.every((count, shard) => count <= appliedBy[shard]))',
    'sent.some((count, shard) => count <= appliedBy[shard]))',
  ),
  bug(
    'only one stream settled',
    'a restart makes up for what the first stream lacks',
    `${journal}/settlement.js`,
    'settled += records.length;',
    'settled += records.length; break;',
  ),
  bug(
    'rest not read again after settling',
    'what a restart has settled is not read',
    'src/recovery.js',
    'options.log(`${settled} messages between shards had been cut off and are settled`);\n    await Promise.all(shards.map((shard) => shard.readRest()));',
    '',
  ),
  {
    name: 'rest not read before serving',
    what: 'what was written between warm-up and take-over is not read',
    patches: [
      {
        file: `${actors}/shard.js`,
        from: 'const { head } = await writer.open();\n        await this.#recovery.readRest();',
        to: 'const { head } = await writer.open();',
      },
    ],
  },
  bug(
    'touched seqs kept across generations',
    'what was last touched in an old stream counts in the new one',
    `${actors}/rebuild.js`,
    'book.accounts.touchedSeq.set(row, 0);',
    'void book.accounts.touchedSeq;',
  ),
]

const lease: PlantedBug[] = [
  bug(
    'lease counted from the answer',
    'the lease of a commit runs from when its answer came',
    `${journal}/writer.js`,
    'await session.commit(sealed);\n            });\n            this.#confirmed(sentAt);',
    'await session.commit(sealed);\n            });\n            this.#confirmed(this.#parts.clock.monotonic());',
  ),
  bug(
    'lease of a heartbeat counted from the answer',
    'the lease of a heartbeat runs from when its answer came',
    `${journal}/writer.js`,
    'session.confirm(this.#options.stream, this.#epoch));\n            this.#confirmed(sentAt);',
    'session.confirm(this.#options.stream, this.#epoch));\n            this.#confirmed(this.#parts.clock.monotonic());',
  ),
  bug(
    'heartbeat does not look at the epoch',
    'a heartbeat succeeds as long as the stream is open',
    `${journal}/postgres-session.js`,
    'if (rows[0]?.epoch !== epoch)',
    'if (rows[0] === undefined || epoch === 0)',
  ),
  bug(
    'no heartbeat',
    'an idle writer never confirms its epoch',
    `${journal}/writer.js`,
    'void this.#confirm();',
    'void 0;',
  ),
  bug(
    'lease not looked at in the shard',
    'a shard sends answers whose lease has run out',
    `${actors}/shard.js`,
    'if (this.#parts.clock.monotonic() >= leaseUntil) {',
    'if (leaseUntil === undefined) {',
  ),
  bug(
    'lease not looked at in the router',
    'the router gives answers whose lease has run out on the way',
    `${actors}/router.js`,
    'const mayAnswer = this.#clock.monotonic() < validUntil;',
    'const mayAnswer = true;',
  ),
  bug(
    'lease not looked at after a read',
    'an answer is given although its lease ran out while the journal was read',
    `${actors}/router.js`,
    'return this.#clock.monotonic() < reply.validUntil;',
    'return true;',
  ),
  bug(
    'frames valid for ever',
    'a shard does not say until when its answers may be given',
    `${actors}/shard.js`,
    'this.#parts.send(ready.take(leaseUntil));',
    'this.#parts.send(ready.take(Number.POSITIVE_INFINITY));',
  ),
  bug(
    'answers that wait for the lease dropped',
    'answers that waited for a fresh lease never leave',
    `${actors}/shard.js`,
    'this.#answers.ready.append(this.#waitingLease);',
    'this.#waitingLease.take(0);',
  ),
]

const writing: PlantedBug[] = [
  bug(
    'deadline leaves the session open',
    'a commit that takes too long is given up, and its connection stays',
    `${journal}/writer.js`,
    'session.close();\n                reject(',
    'reject(',
  ),
  bug(
    'epoch kept after settling',
    'a writer that has settled goes on with its old epoch',
    `${journal}/writer.js`,
    'this.#epoch = state.epoch;',
    'this.#epoch ||= state.epoch;',
  ),
  bug(
    'settled by the head alone',
    'a batch counts as written when the head is where it would be',
    `${journal}/writer.js`,
    'state.head === sealed.newHead && state.digest.equals(sealed.newDigest)',
    'state.head >= sealed.newHead',
  ),
  bug(
    'cancelled standby wait taken for durable',
    'a notice that the standby was not waited for is ignored',
    `${journal}/postgres-session.js`,
    `if (code === '01000')`,
    `if (code === '')`,
  ),
  bug(
    'ROLLBACK taken for COMMIT',
    'command tags of a batch are not looked at',
    `${journal}/postgres-session.js`,
    `if (tags.join(' ') !== 'BEGIN COPY CALL COMMIT')`,
    'if (false)',
  ),
  bug(
    'duplicate key taken for a passing error',
    'a duplicate journal key does not mean fenced',
    `${journal}/postgres-session.js`,
    ' || error.code === duplicateKeyState',
    '',
  ),
  bug(
    'settled without the owner',
    'a writer settles a stream that another process owns',
    `${journal}/postgres-session.js`,
    'row.closed || row.owner !== owner',
    'row.closed',
  ),
  bug(
    'old backend not ended when settling',
    'a writer that settles leaves its old backend alone',
    `${journal}/postgres-session.js`,
    'await endOldBackends(this.#connection, { streams: [stream], owner });',
    '',
  ),
]

const takingOver: PlantedBug[] = [
  bug(
    'layout not looked at in a take-over',
    'a process takes over a generation that it has not read',
    `${journal}/take-over.js`,
    'if (!isSameGeneration(book, expected))',
    'if (false)',
  ),
  bug(
    'only one backend ended',
    'a take-over ends the backend of the first stream',
    `${journal}/take-over.js`,
    'const streams = [...book.layout.streams];',
    'const streams = [...book.layout.streams].slice(0, 1);',
  ),
  bug(
    'backends named last are left',
    'a take-over ends only the backends named before it had the rows',
    `${journal}/take-over.js`,
    `await connection.query('select pg_stat_clear_snapshot()');\n        await endOldBackends(connection, { streams });`,
    '',
  ),
  bug(
    'generation opened by anybody',
    'a generation is opened although another process has taken over',
    `${journal}/generation.js`,
    'if (!(await allOpenBelongTo(connection, owner)))',
    'if (false)',
  ),
  bug(
    'old streams stay open',
    'epochs are raised only of streams without an owner',
    `${journal}/take-over.js`,
    'set epoch = epoch + 1, owner',
    'set owner',
  ),
]

export const bugsElsewhere: readonly PlantedBug[] = [
  ...reservations,
  ...accounts,
  ...ids,
  ...recovery,
  ...lease,
  ...writing,
  ...takingOver,
]
