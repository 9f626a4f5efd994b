import type { AccountCreation } from '../../src/actors/account-decision.js'
import {
  CommandKind,
  type FollowUpInput,
  type PostingInput,
  type RequestContext,
  writeAccountCommand,
  writeBatchHead,
  writeFollowUp,
  writeRead,
  writeTransaction,
} from '../../src/actors/command.js'
import type { FrameWriter } from '../../src/actors/frame.js'
import { refusalNumber, refusalOf } from '../../src/actors/refusals.js'
import type { Outcome, Router } from '../../src/actors/router.js'
import { noIndex } from '../../src/actors/transaction-decision.js'
import type { JournalReader } from '../../src/journal/reader.js'
import { formatKey, isUuid, type Key, keyOfFollowUp, slotOf } from '../../src/key.js'
import { accountView, balancesOf, itemsOf, transactionView } from './engine-answers.js'
import {
  attributesOf,
  decimal,
  followUpKinds,
  limitOf,
  minor,
  pairOf,
  present,
  reversedPostings,
  transactionInput,
} from './engine-commands.js'
import { EngineNames, keyOfName, tenant } from './engine-names.js'
import type {
  AccountChange,
  Answer,
  FollowUp,
  ItemAnswer,
  NewAccount,
  NewTransaction,
} from './model.js'

/** What a command came to; `unanswered` and `overloaded` are the router's. */
export type EngineAnswer = Answer | { outcome: 'unanswered' | 'overloaded' }

/**
 * What the API does between HTTP and a frame, in its plainest form: commands of the model go to the
 * router, and answers come back as the model gives them.
 */
export class EngineClient {
  readonly #router: () => Router | Promise<Router>
  readonly #reader: JournalReader
  readonly #context: RequestContext = {
    tenant,
    principal: 7,
    correlation: keyOfName('correlation'),
  }
  readonly #names: EngineNames

  /** During a restart commands wait for the `router` of the next process, as in the queue of its port. */
  constructor(
    router: () => Router | Promise<Router>,
    reader: JournalReader,
    names = new EngineNames(),
  ) {
    this.#router = router
    this.#reader = reader
    this.#names = names
  }

  async createAccount(body: NewAccount & { striped?: true }): Promise<EngineAnswer> {
    const id = this.#names.keyOf(body.id)
    const { scale, overdraftLimit, minimumBalance } = body
    const created: AccountCreation = present({
      currency: body.currency,
      scale,
      class: body.class,
      overdraftLimit: overdraftLimit === undefined ? undefined : limitOf(overdraftLimit, scale),
      minimumBalance: minimumBalance === undefined ? undefined : minor(minimumBalance, scale),
      name: isUuid(body.id) ? undefined : body.id,
      type: body.type,
      owner: body.owner,
      number: body.number,
      metadata: body.metadata,
      striped: body.striped,
    })
    const command = { kind: CommandKind.createAccount, id, body: created } as const
    return await this.#ask(id, 1, (frame, request) =>
      writeAccountCommand(frame, this.#context, request, command),
    )
  }

  async changeAccount(change: AccountChange): Promise<EngineAnswer> {
    const id = this.#names.keyOf(change.id)
    const { status, overdraftLimit, minimumBalance, metadata, version } = change
    const body = present({
      status,
      overdraftLimit:
        overdraftLimit === undefined || overdraftLimit === 'unlimited'
          ? overdraftLimit && null
          : pairOf(overdraftLimit),
      minimumBalance: minimumBalance === undefined ? undefined : pairOf(minimumBalance),
      metadata,
      version,
    })
    const command = { kind: CommandKind.changeAccount, id, body } as const
    return await this.#ask(id, 1, (frame, request) =>
      writeAccountCommand(frame, this.#context, request, command),
    )
  }

  async post(body: NewTransaction): Promise<EngineAnswer> {
    const input = transactionInput(this.#names, body)
    return await this.#ask(input.id, 1, (frame, request) =>
      writeTransaction(frame, this.#context, request, input),
    )
  }

  /**
   * All or none on the shard of `home`, or of the first id; else one after the other, each on its
   * own shard.
   */
  async batch(
    bodies: NewTransaction[],
    atomic: boolean,
    home = bodies[0].id,
  ): Promise<EngineAnswer> {
    const { streams } = await this.#router()
    if (!atomic && bodies.length > 1 && streams.length > 1) {
      const items: ItemAnswer[] = []
      for (const body of bodies) {
        const answer = await this.batch([body], false)
        if (answer.outcome !== 'batch') return answer
        items.push(...answer.items)
      }
      return { outcome: 'batch', items }
    }
    const inputs = bodies.map((body) => transactionInput(this.#names, body))
    return await this.#ask(this.#names.keyOf(home), bodies.length + 1, (frame, request) => {
      writeBatchHead(frame, this.#context, request, { count: bodies.length, atomic })
      for (const input of inputs) writeTransaction(frame, this.#context, request, input)
    })
  }

  /** One after the other on the shard of the first id, as a sub-batch of an ordered batch. */
  async ordered(bodies: NewTransaction[]): Promise<EngineAnswer> {
    const inputs = bodies.map((body) => transactionInput(this.#names, body))
    return await this.#ask(inputs[0].id, bodies.length + 1, (frame, request) => {
      const head = { count: bodies.length, atomic: false, ordered: true }
      writeBatchHead(frame, this.#context, request, head)
      for (const input of inputs) writeTransaction(frame, this.#context, request, input)
    })
  }

  /** Posts or voids a hold, or reverses: first reads the postings to reverse, as the API does. */
  async followUp(command: FollowUp): Promise<EngineAnswer> {
    const target = this.#names.targetKey(command.target)
    let postings: PostingInput[] = []
    if (command.kind === 'reverse') {
      const read = await this.#submit(target, 1, (frame, request) =>
        writeRead(frame, this.#context, request, {
          kind: CommandKind.readTransaction,
          id: target,
          minSeq: 0,
        }),
      )
      if (isUnavailable(read)) return { outcome: 'unanswered' }
      if (read.kind !== 'transaction') return await this.#answerOf(read)
      const words = await this.#reader.readRecord(read.body.recordStream, read.body.recordSeq)
      postings = reversedPostings(words)
    }
    const input: FollowUpInput = {
      kind: followUpKinds[command.kind],
      id: keyOfFollowUp(tenant, target, keyOfName(command.id)),
      target,
      amounts: (command.amounts ?? []).map(decimal),
      keepRest: command.keepRest === true,
      postings,
      effectiveDate: command.effectiveDate,
      attributes: { ...attributesOf(command), name: command.id },
    }
    return await this.#ask(target, 1, (frame, request) =>
      writeFollowUp(frame, this.#context, request, input),
    )
  }

  async readAccount(id: string, minSeq: number): Promise<EngineAnswer> {
    return await this.#read(CommandKind.readAccount, this.#names.keyOf(id), minSeq)
  }

  /** `id` as the model has it: of a transaction, or `target/id` of what follows it. */
  async readTransaction(id: string, minSeq: number): Promise<EngineAnswer> {
    return await this.#read(CommandKind.readTransaction, this.#names.targetKey(id), minSeq)
  }

  /** The key, as text, of an id as the model has it. */
  keyTextOf(id: string): string {
    return formatKey(this.#names.targetKey(id))
  }

  async #read(
    kind: typeof CommandKind.readAccount | typeof CommandKind.readTransaction,
    id: Key,
    minSeq: number,
  ): Promise<EngineAnswer> {
    return await this.#ask(id, 1, (frame, request) =>
      writeRead(frame, this.#context, request, { kind, id, minSeq }),
    )
  }

  async #ask(
    id: Key,
    commands: number,
    write: (frame: FrameWriter, request: number) => void,
  ): Promise<EngineAnswer> {
    return await this.#answerOf(await this.#submit(id, commands, write))
  }

  async #submit(
    id: Key,
    commands: number,
    write: (frame: FrameWriter, request: number) => void,
  ): Promise<Outcome> {
    const router = await this.#router()
    return await router.submit(router.shardOf(slotOf(id)), commands, write)
  }

  async #answerOf(outcome: Outcome): Promise<EngineAnswer> {
    switch (outcome.kind) {
      case 'overloaded':
      case 'unanswered':
        return { outcome: outcome.kind }
      case 'refused':
        return { outcome: 'refused', code: refusalOf(outcome.refusal).code, ...at(outcome.index) }
      case 'account':
        return {
          outcome: 'account',
          replayed: outcome.replayed,
          account: accountView(outcome),
        }
      case 'accepted':
        return {
          outcome: 'accepted',
          seq: outcome.seq,
          transaction: transactionView(this.#names, outcome.record, outcome.state),
          balances: balancesOf(this.#names, outcome),
        }
      case 'transaction': {
        const { recordStream, recordSeq, remaining, replayed } = outcome.body
        const words = await this.#reader.readRecord(recordStream, recordSeq)
        if (!(await this.#router()).isValid(outcome)) return { outcome: 'unanswered' }
        return {
          outcome: replayed ? 'replayed' : 'read',
          seq: recordSeq,
          transaction: { ...transactionView(this.#names, words, outcome.state), remaining },
        }
      }
      case 'part':
      case 'reached':
        throw new Error(`a shard answered ${outcome.kind}`)
      case 'batch': {
        const { atomicRefusal, index, items } = outcome
        return atomicRefusal === 0
          ? { outcome: 'batch', items: itemsOf(items) }
          : { outcome: 'refused', code: refusalOf(atomicRefusal).code, ...at(index) }
      }
    }
  }
}

function at(index: number): { index?: number } {
  return index === noIndex ? {} : { index }
}

/** The same reversal may have taken effect before, so that nobody may call it refused. */
function isUnavailable(outcome: Outcome): boolean {
  const { journal_unavailable } = refusalNumber
  return outcome.kind === 'refused' && outcome.refusal === journal_unavailable
}
