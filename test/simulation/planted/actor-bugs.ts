import { bug, type PlantedBug } from './planted-bug.js'

/** Faults in batches, striped accounts and holds. */
const actors = 'src/actors'
const coordination = 'src/actors/coordination'

const batches: PlantedBug[] = [
  {
    name: 'atomic batch half written',
    what: 'items of an atomic batch are judged each by itself, and one that fails is left out',
    patches: [
      {
        file: `${actors}/batch-executor.js`,
        from: 'this.#decide(words, at, timeMs, false);',
        to: 'this.#decide(words, at, timeMs, true);',
      },
      {
        file: `${actors}/batch-executor.js`,
        from: `throw new BookError('an item of an accepted atomic batch was refused');`,
        to: 'this.#done(batch, index, refusedResult(this.#bench.decision.refusal, 0)); continue;',
      },
    ],
  },
  bug(
    'claimed ids never given back',
    'ids that an atomic batch has claimed on another shard stay under way for ever',
    `${coordination}/participant.js`,
    'underWay.end(tenant, key, 0);',
    'void tenant, key, underWay;',
  ),
  bug(
    'claimed ids given back too early',
    'a shard answers repeats of ids that it has claimed when it has applied its own part',
    `${coordination}/participant.js`,
    'if (held.claims.length === 0)',
    'if (true)',
  ),
  bug(
    'claimed ids counted for ever',
    'the room that claimed ids take is never given back',
    `${coordination}/participant.js`,
    'transactions.claimed -= held.claimsOpen;',
    '',
  ),
  bug(
    'ordered batch overtakes an item under way',
    'an ordered batch goes on with the items behind one whose id is being decided',
    `${actors}/batch-executor.js`,
    'underWay.wait(tenant, words, at + Word.id, again, count - index);\n                return;',
    'void again, count;',
  ),
  bug(
    'ordered batch sent in one wave',
    'items of an ordered batch that name the same account run side by side',
    'src/api/batch-split.js',
    'if (names.some((name) => wave.conflicts(name, reach)))',
    'if (false)',
  ),
  bug(
    'ordered batch takes any account for striped',
    'items of an ordered batch that share an account are not kept apart once one is striped',
    'src/api/batch-split.js',
    'known !== undefined && (known === severalShards || known !== reach)',
    'known !== undefined && known !== reach',
  ),
  bug(
    'another body in a batch answered as a repeat',
    'an item of a batch whose id was used with another body counts as a repeat',
    `${actors}/batch-executor.js`,
    'if (!this.#bench.hasFingerprint(row))',
    'if (false)',
  ),
  bug(
    'another body claimed as a repeat',
    'a shard that is asked to claim an id says that it knows it, whatever the body',
    `${coordination}/participant.js`,
    'outcome: same ? ClaimOutcome.known : ClaimOutcome.knownWithDifferentBody,',
    'outcome: same ? ClaimOutcome.known : ClaimOutcome.known,',
  ),
  bug(
    'batch answer rests on its last item',
    'a batch is answered when what its last item rests on is durable',
    `${actors}/batch-executor.js`,
    'if (result.restsOn > batch.restsOn)',
    'if (true)',
  ),
  bug(
    'claim answered before it is durable',
    'a shard tells of a known id before the record of it is durable',
    `${coordination}/participant.js`,
    'peerResting(words[at + Peer.from], restsOn)',
    'peerResting(words[at + Peer.from], 0)',
  ),
  bug(
    'own repeats of a coordinated batch not waited for',
    'the answer of an atomic batch over several shards does not rest on repeats among its items',
    `${actors}/batch-executor.js`,
    '{ ...result, restsOn: Math.max(result.restsOn, restsOn) }',
    'result',
  ),
  bug(
    'repeat shown before it is durable',
    'a repeat is answered before the first attempt is durable',
    `${actors}/workbench.js`,
    'this.replies.transaction(this.outputs.answersResting(touchedSeq), request, row, true)',
    'this.replies.transaction(this.outputs.answersResting(0), request, row, true)',
  ),
]

const striped: PlantedBug[] = [
  bug(
    'striped creation answered at once',
    'the creation of a striped account is answered before any other shard has it',
    `${actors}/account-executor.js`,
    'new AccountCoordination(bench, this.#coordinator, command, () => this.#answer(request, created)).tell(written);',
    'new AccountCoordination(bench, this.#coordinator, command, () => 0).tell(written); this.#answer(request, created);',
  ),
  bug(
    'striped account closed by its own part',
    'a striped account is closed when the part of its own shard is zero',
    `${coordination}/account-coordination.js`,
    'for (const { words: vote } of coordination.parties) {',
    'for (const { words: vote } of []) {',
  ),
  bug(
    'parts not shut while a change is decided',
    'a part goes on taking postings between its vote on a change and the change',
    `${coordination}/participant.js`,
    'book.reservations.close(row);',
    '',
  ),
  bug(
    'part shut for ever',
    'a part that was shut for a change is not opened again',
    `${coordination}/participant.js`,
    'if (held.shut >= 0)',
    'if (held.shut >= 1e9)',
  ),
  bug(
    'vote on a change before it is durable',
    'a part votes on a change before what it holds is durable',
    `${coordination}/participant.js`,
    'outputs.peerResting(words[at + Peer.from], book.accounts.touchedSeq.get(row))',
    'outputs.peerResting(words[at + Peer.from], 0)',
  ),
  bug(
    'part told stale',
    'the router takes the older of two parts that it has been told',
    `${actors}/striped-parts.js`,
    'if (known !== undefined && known.seq > view.seq)',
    'if (known !== undefined)',
  ),
  bug(
    'striped holds uncounted at a change of N',
    'pending holds on a striped account are not counted when a generation is rebuilt',
    `${actors}/rebuild.js`,
    'accounts.holds.set(row, accounts.holds.get(row) + 1);',
    '',
  ),
  bug(
    'striped share lost in division',
    'what is left over when a striped sum is dealt out belongs to nobody',
    `${actors}/rebuild.js`,
    'return place.shard === 0 ? sum - share * BigInt(place.shards - 1) : share;',
    'return share;',
  ),
  bug(
    'changes of a striped account block the next',
    'a change of a striped account never ends, so that later ones wait for ever',
    `${coordination}/account-coordination.js`,
    'this.#bench.accountsUnderWay.end(words[at + Word.tenant], words, at + Word.id);',
    'void words, at;',
  ),
]

const holds: PlantedBug[] = [
  bug(
    'keepRest releases too much',
    'a partial post that keeps the rest releases half of it',
    `${actors}/transaction-executor.js`,
    'return { ...body, kept: true };',
    'return { ...body, kept: true, released: hold.postings.map((posting, index) => (posting.remaining - decision.postings[index].amount) / 2n) };',
  ),
  bug(
    'keepRest forgotten',
    'a partial post always releases the rest',
    `${actors}/transaction-executor.js`,
    'if (kind === CommandKind.postHold && keepsRest(hold, words, at, decision))',
    'if (false)',
  ),
  bug(
    'amounts of a post not looked at',
    'a post of a part of a hold posts all of it',
    `${actors}/hold-decision.js`,
    'decision.postings[index].amount = amount;',
    'decision.postings[index].amount = amount === undefined ? 0n : remaining;',
  ),
  bug(
    'more posted than is held',
    'a post may be of more than the hold still reserves',
    `${actors}/hold-decision.js`,
    'if (amount > remaining)',
    'if (amount < 0n)',
  ),
  bug(
    'void of a partly posted hold',
    'the end of a hold releases less than what was left of it',
    `${actors}/transaction-executor.js`,
    'posting.remaining - decision.postings[index].amount);',
    'posting.remaining - decision.postings[index].amount > 100n ? posting.remaining - decision.postings[index].amount - 100n : posting.remaining - decision.postings[index].amount);',
  ),
  bug(
    'hold counted after its end',
    'the end of a hold leaves it counted on accounts of other shards',
    `${actors}/apply.js`,
    'holds: body.ended === true ? -1 : 0,',
    'holds: 0,',
  ),
  bug(
    'expiry not tried again',
    'the expiry of a hold that something undecided prevented is never tried again',
    `${actors}/transaction-executor.js`,
    'refused: () => book.holds.postpone(hold),',
    'refused: () => undefined,',
  ),
  bug(
    'hold forgets to expire after a refused post',
    'a hold whose post was refused by another shard does not expire any more',
    `${coordination}/transaction-coordination.js`,
    'if (hold !== undefined && !hold.busy)',
    'if (false)',
  ),
  bug(
    'expired hold posted',
    'a hold whose time has come can be posted until it is seen to expire',
    `${actors}/hold-decision.js`,
    'if (hold.expiresAt <= timeMs)',
    'if (hold.expiresAt <= timeMs - 60_000)',
  ),
  {
    name: 'decided on the time of the question',
    what: 'home judges by the time at which it asked the other shards',
    patches: [
      {
        file: `${coordination}/transaction-coordination.js`,
        from: '        const coordination = this.#coordinator.begin(this);',
        to: '        this.askedMs = timeMs; const coordination = this.#coordinator.begin(this);',
      },
      {
        file: `${coordination}/transaction-coordination.js`,
        from: '{ index, timeMs, restsOn }',
        to: '{ index, timeMs: this.askedMs, restsOn }',
      },
    ],
  },
  bug(
    'expiry lost at a change of N',
    'holds of an earlier generation never expire',
    `${actors}/apply.js`,
    'body.expiresAt === undefined ?',
    'body.expiresAt === undefined || book.rebuild !== undefined ?',
  ),
  bug(
    'reversal blocks the next',
    'a refused reversal over several shards is never forgotten',
    `${coordination}/transaction-coordination.js`,
    'book.reversing.delete(findTarget(book, item.words, item.at));',
    'void findTarget;',
  ),
  bug(
    'reversed twice at once',
    'a reversal is begun while another one of the same transaction is being decided',
    `${actors}/hold-decision.js`,
    'if (book.reversing.has(row))',
    'if (false)',
  ),
]

export const actorBugs: readonly PlantedBug[] = [...batches, ...striped, ...holds]
