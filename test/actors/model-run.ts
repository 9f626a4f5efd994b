import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { bookDigest, horizonOf } from '../../src/actors/digest.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import type { EngineOptions } from './engine-process.js'
import { type Answer, LedgerModel, type ModelLimits } from './model.js'
import {
  accountIds,
  bodyOfFollowUp,
  bodyOfPost,
  freshId,
  msOfAdvance,
  pickOf,
  repeated,
  type Sent,
  type Step,
} from './scenario.js'

export interface ModelRunOptions {
  engine: Pick<EngineOptions, 'connectionString' | 'shards' | 'shard' | 'snapshots'>
  /** The model's. */
  limits: ModelLimits
  /** Counts refusals by code. */
  hits: Map<string, number>
}

/** The engine and the model beside each other. */
export class ModelRun {
  readonly engine: Engine
  readonly #model: LedgerModel
  readonly #hits: Map<string, number>
  readonly #sent: Sent[] = []
  readonly #isSharded: boolean
  #ids = 0

  /** Of an empty book. */
  static async start({ engine, limits, hits }: ModelRunOptions): Promise<ModelRun> {
    return new ModelRun(await Engine.start(engine), limits, hits)
  }

  private constructor(engine: Engine, limits: ModelLimits, hits: Map<string, number>) {
    this.engine = engine
    this.#model = new LedgerModel(engine.clock.now(), limits)
    this.#hits = hits
    this.#isSharded = engine.shards.length > 1
  }

  async take(step: Step): Promise<void> {
    const model = this.#model
    switch (step.do) {
      case 'create':
        return await this.#send({
          kind: 'create',
          body: { ...step.body, id: accountIds[step.account % accountIds.length] },
        })
      case 'change': {
        const known = pickOf([...model.accounts.keys()], step.account)
        const id = step.unknown || known === undefined ? 'nobody' : known
        const version = model.accounts.get(id)?.version ?? 0
        const change = { ...step.change, id }
        const full =
          step.version === 'none'
            ? change
            : { ...change, version: version + (step.version === 'wrong' ? 1 : 0) }
        return this.#compare(step, await this.engine.changeAccount(full), model.changeAccount(full))
      }
      case 'post':
        return await this.#send({
          kind: 'post',
          body: bodyOfPost(model, step.post, this.#freshId()),
        })
      case 'followUp':
        return await this.#send({
          kind: 'followUp',
          body: bodyOfFollowUp(model, step.follow, this.#freshId()),
        })
      case 'repeat': {
        const sent = pickOf(this.#sent, step.pick)
        return sent === undefined ? undefined : await this.#send(repeated(sent, step.how))
      }
      case 'batch':
        return await this.#batch(step)
      case 'read':
        return await this.#read(step)
      case 'advance': {
        const ms = msOfAdvance(model, step)
        await this.engine.quiet()
        this.engine.clock.advance(ms)
        // What expires on several shards takes a message and a commit.
        await this.engine.quiet()
        model.advance(ms)
        return
      }
      case 'restart':
        return await this.#restart()
    }
  }

  /** The engine has just answered as the model did, so that the model's limits are its own. */
  assertLimits(): void {
    assert.deepEqual(this.#model.beyondLimit, [], 'no available balance has crossed its limit')
  }

  /** At the end everything is read, before and after a restart. */
  async finish(): Promise<void> {
    await this.#readEverything()
    this.#assertConservation()
    await this.#restart()
    await this.#readEverything()
    await this.engine.stop()
  }

  async #send(sent: Sent): Promise<void> {
    this.#sent.push(sent)
    switch (sent.kind) {
      case 'create':
        return this.#compare(
          sent,
          await this.engine.createAccount(sent.body),
          this.#model.createAccount(sent.body),
        )
      case 'post':
        return this.#compare(sent, await this.engine.post(sent.body), this.#model.post(sent.body))
      case 'followUp':
        return this.#compare(
          sent,
          await this.engine.followUp(sent.body),
          this.#model.followUp(sent.body),
        )
    }
  }

  async #batch(step: Extract<Step, { do: 'batch' }>): Promise<void> {
    const bodies = step.posts.map((post) => bodyOfPost(this.#model, post, this.#freshId()))
    const posts = this.#sent.filter((sent) => sent.kind === 'post')
    const earlier = step.repeat === undefined ? undefined : pickOf(posts, step.repeat)
    if (earlier !== undefined) bodies.splice(step.posts.length >> 1, 0, earlier.body)
    for (const body of bodies) this.#sent.push({ kind: 'post', body })
    this.#compare(
      { ...step, bodies },
      await this.engine.batch(bodies, step.atomic),
      this.#model.batch(bodies, step.atomic),
    )
  }

  async #read(step: Extract<Step, { do: 'read' }>): Promise<void> {
    const { engine } = this
    const model = this.#model
    const heads = engine.shards.map((shard) => shard.gauges.durableSeq)
    const minSeq = step.ahead ? Math.max(...heads) + 100 : 0
    if (step.what === 'account') {
      const id = step.unknown ? 'nobody' : (pickOf(accountIds, step.pick) ?? 'nobody')
      const answer = await engine.readAccount(id, minSeq)
      return this.#compare(step, answer, model.readAccount(id, minSeq))
    }
    const known = pickOf([...model.transactions.keys()], step.pick)
    const id = step.unknown || known === undefined ? 'nobody' : known
    const answer = await engine.readTransaction(id, minSeq)
    return this.#compare(step, answer, model.readTransaction(id, minSeq))
  }

  async #restart(): Promise<void> {
    const before = this.engine.shards.map(({ book }) => book)
    // A book that began with several shards goes on with any number of them.
    const next = this.#isSharded ? [1, 2, 4, 7][this.#ids % 4] : 1
    await this.engine.restart(next)
    await this.engine.quiet()
    const after = this.engine.shards.map(({ book }) => book)
    const horizon = horizonOf([...before, ...after])
    const [one, other] = [before, after].map((books) => bookDigest(books, horizon))
    assert.equal(one, other, 'replay gives the same digest')
  }

  async #readEverything(): Promise<void> {
    const model = this.#model
    const gauges = this.engine.shards.map((shard) => shard.gauges)
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
    assert.equal(sum(gauges.map(({ accounts }) => accounts)), model.accounts.size)
    if (sum(gauges.map(({ letGo }) => letGo)) === 0) {
      assert.equal(sum(gauges.map(({ transactions }) => transactions)), model.transactions.size)
    }
    const reads = [
      ...[...model.accounts.keys()].map(async (id) =>
        this.#compare(id, await this.engine.readAccount(id, 0), model.readAccount(id, 0)),
      ),
      ...[...model.transactions.keys()].map(async (id) =>
        this.#compare(id, await this.engine.readTransaction(id, 0), model.readTransaction(id, 0)),
      ),
    ]
    await Promise.all(reads)
  }

  #assertConservation(): void {
    const sums = new Map<string, bigint[]>()
    for (const { book } of this.engine.shards) {
      const { accounts } = book
      for (let row = 0; row < accounts.count; row++) {
        const { code } = accounts.currencyOf(row)
        const [posted, pending] = sums.get(code) ?? [0n, 0n]
        sums.set(code, [
          posted + accounts.debitsPosted.get(row) - accounts.creditsPosted.get(row),
          pending + accounts.debitsPending.get(row) - accounts.creditsPending.get(row),
        ])
      }
    }
    for (const [code, sum] of sums) assert.deepEqual(sum, [0n, 0n], `${code}: debits are credits`)
  }

  #compare(what: unknown, answer: EngineAnswer, expected: Answer): void {
    this.#count(answer)
    try {
      // The model numbers records as one stream does.
      const left = this.#isSharded ? ['seq'] : []
      assert.deepStrictEqual(withoutAbsent(answer, left), withoutAbsent(expected, left))
    } catch (error) {
      const command = inspect(what, { depth: 6, breakLength: 100 })
      throw new Error(`answer (+) and model (-) differ at ${command}: ${(error as Error).message}`)
    }
  }

  #count(answer: EngineAnswer): void {
    const answers = answer.outcome === 'batch' ? answer.items : [answer]
    for (const each of answers) {
      if (each.outcome !== 'refused') continue
      this.#hits.set(each.code, (this.#hits.get(each.code) ?? 0) + 1)
    }
  }

  #freshId(): string {
    this.#ids += 1
    return freshId(this.#ids)
  }
}

function withoutAbsent(value: unknown, left: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((entry) => withoutAbsent(entry, left))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(
    ([name, entry]) => entry !== undefined && !left.includes(name),
  )
  return Object.fromEntries(entries.map(([name, entry]) => [name, withoutAbsent(entry, left)]))
}
