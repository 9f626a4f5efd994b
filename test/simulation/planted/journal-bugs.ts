import { bug, type PlantedBug } from './planted-bug.js'

/** Faults in recovery, the lease, the writer and take-over. */
const actors = 'src/actors'
const journal = 'src/journal'

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
    'had been cut off and are settled`);\n    await Promise.all(shards.map((shard) => shard.readRest()));',
    'had been cut off and are settled`);',
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
]

export const journalBugs: readonly PlantedBug[] = [...recovery, ...lease, ...writing, ...takingOver]
