import { CommandKind, type RequestContext, writeRead } from '../../src/actors/command.js'
import { type Router, readUnanswered } from '../../src/actors/router.js'
import { runBatch } from '../../src/api/batch-run.js'
import { ApiError, replyOf } from '../../src/api/errors.js'
import { accountReply, wholeBalance } from '../../src/api/striped-balance.js'
import type { JournalReader } from '../../src/journal/reader.js'
import { slotOf } from '../../src/key.js'
import { accountView, itemsOf } from '../actors/engine-answers.js'
import { type EngineAnswer, EngineClient } from '../actors/engine-client.js'
import { transactionInput } from '../actors/engine-commands.js'
import { EngineNames, keyOfName, tenant } from '../actors/engine-names.js'
import type { NewTransaction } from '../actors/model.js'
import type { Command } from './commands.js'

/** The API of a process in its plainest form: one command in, one answer out. */
export class ProcessClient {
  readonly #router: Router
  readonly #engine: EngineClient
  readonly #names = new EngineNames()

  constructor(router: Router, reader: JournalReader) {
    this.#router = router
    this.#engine = new EngineClient(() => router, readingFor(reader), this.#names)
  }

  async ask(command: Command): Promise<EngineAnswer> {
    try {
      return await this.#ask(command)
    } catch (error) {
      if (error instanceof NotReadError) return { outcome: 'unanswered' }
      if (error instanceof ApiError) return answerOf(error)
      throw error
    }
  }

  #ask(command: Command): Promise<EngineAnswer> {
    switch (command.does) {
      case 'post':
        return this.#engine.post(command.body)
      case 'follow up':
        return this.#engine.followUp(command.body)
      case 'batch':
        return this.#batch(command.bodies, command.how)
      case 'create account':
        return this.#engine.createAccount(command.body)
      case 'change account':
        return this.#engine.changeAccount(command.body)
      case 'read account':
        return this.#readAccount(command.id)
      case 'read transaction':
        return this.#engine.readTransaction(command.id, 0)
    }
  }

  /** Through the API's own way of dealing a batch out to the shards. */
  async #batch(
    bodies: NewTransaction[],
    how: 'atomic' | 'ordered' | 'unordered',
  ): Promise<EngineAnswer> {
    const transactions = bodies.map((body) => transactionInput(this.#names, body))
    const batch = { transactions, atomic: how === 'atomic', ordered: how === 'ordered' }
    const { items } = await runBatch(this.#router, context, batch, {})
    return { outcome: 'batch', items: itemsOf(items) }
  }

  /** Of a striped account the sum of its parts, as the API adds it up. */
  async #readAccount(name: string): Promise<EngineAnswer> {
    const id = this.#names.keyOf(name)
    const shard = this.#router.shardOf(slotOf(id))
    const outcome = await this.#router.submit(shard, 1, (frame, request) =>
      writeRead(frame, context, request, { kind: CommandKind.readAccount, id, minSeq: 0 }),
    )
    const reply = accountReply(replyOf(outcome.kind === 'unanswered' ? readUnanswered : outcome))
    const balance = await wholeBalance(this.#router, context, id, reply)
    return { outcome: 'account', replayed: false, account: accountView({ ...reply, balance }) }
  }
}

const context: RequestContext = { tenant, principal: 7, correlation: keyOfName('correlation') }

function answerOf({ code, details }: ApiError): EngineAnswer {
  if (code === 'overloaded') return { outcome: 'overloaded' }
  if (code === 'outcome_unknown') return { outcome: 'unanswered' }
  const index = details?.index
  return { outcome: 'refused', code, ...(typeof index === 'number' ? { index } : {}) }
}

/** The journal could not be read, so nothing is shown. */
class NotReadError extends Error {}

function readingFor(reader: JournalReader): JournalReader {
  return {
    readRecord: (stream, seq) =>
      reader.readRecord(stream, seq).catch((error: Error) => {
        throw new NotReadError(error.message, { cause: error })
      }),
    close: () => reader.close(),
  }
}
