import { readInteger, Word } from '../../journal/record.js'
import { type Fingerprint, fingerprintOf } from '../fingerprint.js'
import type { FrameWriter } from '../frame.js'
import type { Coordination } from './coordination.js'
import {
  beginPeerMessage,
  ClaimedWord,
  ClaimOutcome,
  ClaimWord,
  claimedWords,
  claimWords,
  Peer,
  PeerKind,
} from './peer-message.js'
import type { PlannedItem } from './planned-item.js'

/** The items whose ids live on other shards, by shard: those ids have to be claimed there. */
export function itemsToClaim(
  items: readonly PlannedItem[],
  own: number,
): ReadonlyMap<number, readonly PlannedItem[]> {
  const claims = new Map<number, PlannedItem[]>()
  for (const planned of items) {
    if (planned.idShard === own || planned.item.known) continue
    const list = claims.get(planned.idShard)
    if (list === undefined) claims.set(planned.idShard, [planned])
    else list.push(planned)
  }
  return claims
}

export function writeClaims(
  frame: FrameWriter,
  { coordination, from }: { coordination: number; from: number },
  items: readonly PlannedItem[],
): void {
  const at = beginPeerMessage(frame, {
    kind: PeerKind.claim,
    coordination,
    from,
    bytes: (ClaimWord.list - Peer.tenant + items.length * claimWords) * 4,
  })
  const { words } = frame
  words[at + Peer.tenant] = items[0].item.words[items[0].item.at + Word.tenant]
  words[at + ClaimWord.count] = items.length
  const fingerprint: Fingerprint = { low: 0, high: 0 }
  for (const [index, { item }] of items.entries()) {
    const word = at + ClaimWord.list + index * claimWords
    for (let part = 0; part < 4; part++) {
      words[word + part] = item.words[item.at + Word.id + part]
    }
    fingerprintOf(item.words, item.at, fingerprint)
    words[word + 4] = fingerprint.low
    words[word + 5] = fingerprint.high
    words[word + 6] = 0
    words[word + 7] = 0
  }
}

/** Notes what the other shards have said of the ids, in the order in which they were asked. */
export function takeClaims(
  coordination: Coordination,
  items: readonly PlannedItem[],
  own: number,
): void {
  const taken = new Map<number, number>()
  for (const planned of items) {
    const { idShard, item } = planned
    if (idShard === own || item.known) continue
    const { words } = coordination.party(idShard)
    const index = taken.get(idShard) ?? 0
    taken.set(idShard, index + 1)
    const word = ClaimedWord.list + index * claimedWords
    planned.claim = words[word] as ClaimOutcome
    if (planned.claim !== ClaimOutcome.known) continue
    item.known = true
    item.stream = words[word + 1]
    item.seq = readInteger(words, word + 2)
  }
}
