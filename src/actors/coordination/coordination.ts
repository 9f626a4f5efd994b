/** What one kind of command does at each step of its coordination. */
export interface CoordinationSteps {
  /** Items that it consists of. */
  readonly weight: number
  /** All who were asked have answered: asks again, writes records, or refuses. */
  decide(coordination: Coordination, timeMs: number): void
  /** All who had to be told have applied. */
  finish(coordination: Coordination): void
  /** Whether the answer shows the balances of the accounts. */
  readonly wantsBalances: boolean
}

/** A shard that takes part in a coordination; home's own number for home itself. */
export interface Party {
  shard: number
  /** The message that it sent last. */
  words: Uint32Array
  /** Its verdict on the postings that it was asked for. */
  refusal: number
  item: number
  rank: number
  facts: Uint32Array
  /** Facts read so far, in the order in which they were asked for. */
  factsRead: number
  factCount: number
  /** Balance entries after its record, once it has applied it. */
  balances: Uint32Array
}

/** A record that other shards are told of, and the number that its message has for each. */
export interface ToldRecord {
  words: Uint32Array
  seq: number
  messages: { shard: number; number: number }[]
}

/** A command that is under way, the shards that take part, and the records that came of it. */
export class Coordination {
  readonly number: number
  readonly steps: CoordinationSteps
  readonly parties: Party[] = []
  readonly records: ToldRecord[] = []
  /** Answers that are still to come. */
  awaited = 0
  /** First and last seq of its records; 0 until it is decided. */
  firstSeq = 0
  lastSeq = 0
  /** It was refused: what to do when all have given back what they held. */
  abandoned: (() => void) | undefined

  constructor(number: number, steps: CoordinationSteps) {
    this.number = number
    this.steps = steps
  }

  party(shard: number): Party {
    let party = this.parties.find((candidate) => candidate.shard === shard)
    if (party === undefined) {
      party = {
        shard,
        words: nothing,
        refusal: 0,
        item: 0,
        rank: 0,
        facts: nothing,
        factsRead: 0,
        factCount: 0,
        balances: nothing,
      }
      this.parties.push(party)
    }
    return party
  }
}

const nothing = new Uint32Array(0)
