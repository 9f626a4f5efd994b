import type { PlantedBug } from './planted-bug.js'

const journal = 'src/journal'
const actors = 'src/actors'
const coordination = 'src/actors/coordination'
const postgres = 'test/simulation/postgres'

/** The classic ones: none of them may live long. The tests plant each of them. */
export const chosenBugs: readonly PlantedBug[] = [
  {
    name: 'answer before commit',
    what: 'answers leave as soon as they are written, whatever they rest on',
    patches: [
      {
        file: `${actors}/shard.js`,
        from: 'answersResting: (restsOn) => this.#resting(this.#answers, restsOn),',
        to: 'answersResting: () => this.#answers.ready,',
      },
    ],
  },
  {
    name: 'refusal that leaks an undurable debit',
    what: 'a refusal leaves before what it rests on is durable',
    patches: [
      {
        file: `${actors}/workbench.js`,
        from: 'this.outputs.answersResting(this.restsOn(decision))',
        to: 'this.outputs.answersResting(0)',
      },
    ],
  },
  {
    name: 'vote on an undurable credit',
    what: 'a participant votes before what its vote rests on is durable',
    patches: [
      {
        file: `${coordination}/participant.js`,
        from: 'peerResting(from, verdict.restsOn)',
        to: 'peerResting(from, 0)',
      },
    ],
  },
  {
    name: "participants told before home's commit",
    what: 'home tells the participants when it has written its record, and does not wait for the commit',
    patches: [
      {
        file: `${coordination}/coordinator.js`,
        from: 'this.#committing.push(coordination)',
        to: 'this.#tellAll(coordination)',
      },
    ],
  },
  {
    name: "participant's record applied twice",
    what: 'a restart sends the last message of each stream once more',
    patches: [
      {
        file: `${journal}/settlement.js`,
        from: 'if (sent[shard] <= appliedBy[shard])',
        to: 'if (sent[shard] < appliedBy[shard])',
      },
    ],
  },
  {
    name: 'reservation forgotten at restart',
    what: 'a restart does not settle what home has decided and a participant has not applied',
    patches: [
      {
        file: 'src/recovery.js',
        from: 'await settleMessages(book.layout, [...counts.values()], options)',
        to: '0',
      },
    ],
  },
  {
    name: 'hold forgotten at a change of N',
    what: 'what holds reserve of striped accounts is not given to the shards of a new generation',
    patches: [
      {
        file: `${actors}/rebuild.js`,
        from: 'for (const hold of book.holds.all()) {',
        to: 'for (const hold of []) {',
      },
    ],
  },
  {
    name: 'undecided credit spent',
    what: 'credits of transactions that are not decided yet count as available',
    patches: [
      {
        file: `${actors}/draft.js`,
        from: 'taken: taken > 0n ? taken : 0n,',
        to: 'taken,',
      },
    ],
  },
  {
    name: 'fence skipped',
    what: 'the fence moves the head whatever epoch, head and digest are, and a take-over does not end old backends, which alone would hide it',
    patches: [
      {
        file: `${journal}/postgres-session.js`,
        from: 'export async function endOldBackends(connection, of) {',
        to: 'export async function endOldBackends(connection, of) { if (of.owner === undefined) return;',
      },
      {
        file: `${postgres}/journal-statements.js`,
        from: `row.epoch === expected.epoch &&
        row.head === expected.head &&
        row.digest.equals(expected.digest) &&
        !row.closed`,
        to: 'true',
      },
    ],
  },
  {
    name: 'unknown commit settled by a plain read',
    what: 'the head is read while the old backend may still commit, and no epoch is raised',
    patches: [
      {
        file: `${journal}/postgres-session.js`,
        from: 'await endOldBackends(this.#connection, { streams: [stream], owner });',
        to: '',
      },
      {
        file: `${journal}/postgres-session.js`,
        from: 'from daybook.stream where id = $1 for update',
        to: 'from daybook.stream where id = $1',
      },
      {
        file: `${journal}/postgres-session.js`,
        from: 'return { epoch: row.epoch + 1, head: Number(row.head), digest: row.digest };',
        to: 'return { epoch: row.epoch, head: Number(row.head), digest: row.digest };',
      },
      {
        file: `${journal}/postgres-session.js`,
        from: 'await this.#connection.query(`update daybook.stream set epoch',
        to: 'false && await this.#connection.query(`update daybook.stream set epoch',
      },
    ],
  },
  {
    name: 'take-over that fences only some streams',
    what: 'a take-over raises the epochs of the streams with an even number, and owns the rest in name',
    patches: [
      {
        file: `${postgres}/stream-statements.js`,
        from: `update(session, (row) => !row.closed, (row) => ({
            ...row,
            epoch: row.epoch + 1,
            owner: String(owner),`,
        to: `update(session, (row) => !row.closed, (row) => ({
            ...row,
            epoch: row.epoch + (row.id % 2 === 0 ? 1 : 0),
            owner: row.id % 2 === 0 ? String(owner) : row.owner ?? String(owner),`,
      },
    ],
  },
  {
    name: 'order lost across a change of N',
    what: 'earlier generations are read newest first',
    patches: [
      {
        file: `${journal}/take-over.js`,
        from: 'closed: [...closed.values()]',
        to: 'closed: [...closed.values()].reverse()',
      },
    ],
  },
  {
    name: 'hold expired and posted at once',
    what: 'a hold expires while its post is being decided with other shards',
    patches: [
      {
        file: `${actors}/holds.js`,
        from: 'return isPending && !hold.busy &&',
        to: 'return isPending &&',
      },
    ],
  },
  {
    name: 'id forgotten after restart',
    what: 'ids of plain postings of an earlier generation are not remembered',
    patches: [
      {
        file: `${actors}/apply.js`,
        from: 'if (book.rebuild !== undefined && !book.ownsWords(words, id))',
        to: 'if (book.rebuild !== undefined)',
      },
    ],
  },
  {
    name: 'batch dropped after a failed COPY',
    what: 'a batch that turned out not to be in the journal counts as committed',
    patches: [
      {
        file: `${journal}/writer.js`,
        from: `if (!committed)
                continue;`,
        to: '',
      },
    ],
  },
  {
    name: 'lease not looked at',
    what: 'a process that has been taken over goes on answering',
    patches: [
      {
        file: `${actors}/shard.js`,
        from: 'if (this.#parts.clock.monotonic() >= leaseUntil) {',
        to: 'if (leaseUntil === undefined) {',
      },
      {
        file: `${actors}/router.js`,
        from: 'const mayAnswer = this.#clock.monotonic() < validUntil;',
        to: 'const mayAnswer = true;',
      },
      {
        file: `${actors}/router.js`,
        from: 'return this.#clock.monotonic() < reply.validUntil;',
        to: 'return true;',
      },
    ],
  },
  {
    name: 'answered before all have applied',
    what: 'home answers when its record is durable, while participants still have to apply it',
    patches: [
      {
        file: `${coordination}/coordinator.js`,
        from: 'coordination.awaited = last.size + this.#releaseParties(coordination, last);',
        to: 'coordination.awaited = 0 * this.#releaseParties(coordination, last);',
      },
      {
        file: `${coordination}/coordinator.js`,
        from: `throw new Error('a shard answered what nobody asked');`,
        to: 'return;',
      },
    ],
  },
  {
    name: 'another body answered as a repeat',
    what: 'the fingerprint of a known id is not compared',
    patches: [
      {
        file: `${actors}/workbench.js`,
        from: 'return (transactions.fingerprintLow.get(row) === this.fingerprint.low &&',
        to: 'return (transactions !== undefined || transactions.fingerprintLow.get(row) === this.fingerprint.low &&',
      },
    ],
  },
  {
    name: 'striped sum from one part',
    what: 'a striped account is shown as the part of one shard',
    patches: [
      {
        file: 'src/api/striped-balance.js',
        from: 'if (!owner.balance.striped || router.streams.length === 1)',
        to: 'if (owner.balance.striped || router.streams.length === 1)',
      },
    ],
  },
  {
    name: 'reservation not looked at',
    what: 'what undecided transactions have reserved can be spent by others',
    patches: [
      {
        file: `${actors}/draft.js`,
        from: 'entry.reservedAvailable = reserved.taken;',
        to: 'entry.reservedAvailable = 0n;',
      },
    ],
  },
  {
    name: 'unknown commit taken for a failed one',
    what: 'a batch whose commit is in the journal after all is sent once more',
    patches: [
      {
        file: `${journal}/writer.js`,
        from: 'if (state.head === sealed.newHead && state.digest.equals(sealed.newDigest))',
        to: 'if (state.head === -1)',
      },
    ],
  },
  {
    name: 'a silent Postgres is waited for',
    what: 'a start has no deadline for what Postgres owes it',
    patches: [
      {
        file: `${journal}/impatient-database.js`,
        from: 'const timer = clock.schedule(silenceMs, () => {',
        to: 'const timer = clock.schedule(silenceMs * 1e6, () => {',
      },
    ],
  },
]
