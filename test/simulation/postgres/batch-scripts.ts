import { Batch } from '../../../src/journal/batch.js'
import { digestChain } from '../../../src/journal/digest.js'
import { fenceText } from '../../../src/journal/postgres-session.js'
import type { SealedBatch, StreamState } from '../../../src/journal/session.js'
import { after, sealedBatch } from './sealed-batch.js'
import { lockText, openBatch, openRows, type Script } from './stage.js'

/** Batches, alone and against each other. */
export const batchScripts: readonly Script[] = [
  {
    name: 'batches of one chunk and of many are in after their commit',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const first = sealedBatch(1, state)
      const second = sealedBatch(1, after(first), 500)
      const third = manyParts(after(second))
      await stage.tell('one record', session.commit(first))
      await stage.tell('many chunks', session.commit(second))
      await stage.tell('many parts', session.commit(third))
      await stage.tell('head', session.readHead(1))
      await stage.look(1)
    },
  },
  {
    name: 'chunks are read from where to where they are asked for',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const first = sealedBatch(1, state, 300)
      await session.commit(first)
      const second = manyParts(after(first))
      await session.commit(second)
      for (const [afterSeq, toSeq] of [
        [0, 0],
        [0, 1],
        [0, 65],
        [1, 300],
        [65, 301],
        [300, 301],
        [301, 302],
        [400, 500],
        [500, 400],
      ]) {
        const found: string[] = []
        for await (const { firstSeq, part, prev } of session.readChunks(1, afterSeq, toSeq))
          found.push(`${firstSeq}/${part} ${prev.toString('hex', 0, 4)}`)
        stage.say(`${afterSeq} to ${toSeq}: ${found.join(', ')}`)
      }
      for await (const chunk of session.readChunks(2, 0, 10)) stage.say(`stream 2: ${chunk.n}`)
    },
  },
  {
    name: 'a record is found by its position',
    async play(stage) {
      await stage.takeOver('first')
      const { session, connection, state } = await stage.writer(1, 'first')
      const first = sealedBatch(1, state, 300)
      await session.commit(first)
      await session.commit(manyParts(after(first)))
      for (const seq of [0, 1, 65, 66, 300, 301, 302, 1000]) {
        const { rows } = await connection.query<{ first_seq: string; payload: Buffer }>(
          recordText,
          [1, seq],
        )
        stage.say(`${seq}: ${rows.map((row) => `${row.first_seq} ${row.payload.length}`).join()}`)
      }
      await stage.tell('stream 2', connection.query(recordText, [2, 1]))
    },
  },
  {
    name: 'a batch with another epoch, head or digest is fenced and leaves nothing',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      await session.commit(sealedBatch(1, state))
      const now = await session.readHead(1)
      const wrong: [string, StreamState][] = [
        ['older epoch', { ...now, epoch: now.epoch - 1 }],
        ['later epoch', { ...now, epoch: now.epoch + 1 }],
        ['head', { ...now, head: 5 }],
        ['digest', { ...now, digest: Buffer.alloc(32, 7) }],
        ['stream', { epoch: 0, head: 0, digest: Buffer.alloc(32) }],
      ]
      for (const [name, expected] of wrong) {
        const { session: other } = await stage.session()
        await stage.tell(name, other.commit(sealedBatch(name === 'stream' ? 2 : 1, expected)))
      }
      await stage.tell('the same again', session.commit(sealedBatch(1, state)))
      await stage.look(1, 2)
    },
  },
  {
    name: 'a session whose batch was fenced is of no use until it rolls back',
    async play(stage) {
      await stage.takeOver('first')
      const { session, connection, state } = await stage.writer(1, 'first')
      const stale = { ...state, epoch: state.epoch - 1 }
      await stage.tell('stale', session.commit(sealedBatch(1, stale)))
      await stage.tell('confirm', session.confirm(1, state.epoch))
      await stage.tell('right batch', session.commit(sealedBatch(1, state)))
      await stage.tell('commit', connection.query('commit'))
      await stage.tell('right batch', session.commit(sealedBatch(1, state)))
      await stage.look(1)
    },
  },
  {
    name: 'two batches at the same head: the second waits for the first and is fenced',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const one = await stage.connect('transaction')
      await stage.tell('one', openBatch(one, sealedBatch(1, state)))
      const second = stage.later(session.commit(sealedBatch(1, state, 3)))
      await stage.server.untilBlocked(1)
      await stage.tell('one', one.query('commit'))
      await stage.tell('other', second)
      await stage.look(1)
    },
  },
  {
    name: 'two batches at the same head: the second goes through when the first is rolled back',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const one = await stage.connect('transaction')
      await openBatch(one, sealedBatch(1, state))
      const second = stage.later(session.commit(sealedBatch(1, state, 3)))
      await stage.server.untilBlocked(1)
      await stage.tell('one', one.query('rollback'))
      await stage.tell('other', second)
      await stage.look(1)
    },
  },
  {
    name: 'rows that wait for a key go on from there, and a third waits for them',
    async play(stage) {
      await stage.takeOver('first')
      const { state } = await stage.writer(1, 'first')
      const batch = sealedBatch(1, state, 200)
      const later = sealedBatch(1, after(sealedBatch(1, state, 65)))
      const one = await stage.connect('transaction')
      await openRows(one, later)
      const two = await stage.session()
      const second = stage.later(two.session.commit(batch))
      await stage.server.untilBlocked(1)
      const three = await stage.session()
      const third = stage.later(three.session.commit(sealedBatch(1, state)))
      await stage.server.untilBlocked(2)
      await stage.tell('one', one.query('rollback'))
      await stage.tell('two', second)
      await stage.tell('three', third)
      await stage.look(1)
    },
  },
  {
    name: 'a row twice in one transaction is a duplicate',
    async play(stage) {
      await stage.takeOver('first')
      const { state } = await stage.writer(1, 'first')
      const batch = sealedBatch(1, state)
      const one = await stage.connect('transaction')
      await stage.tell('rows', openRows(one, batch))
      await stage.tell('again', one.copyIn(copyAlone(batch), batch.copy))
      await stage.tell('commit', one.query('commit'))
      await stage.look(1)
    },
  },
  {
    name: 'a batch under way whose client is gone is committed all the same',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const holder = await stage.begin()
      await holder.query(lockText, [1])
      const commit = stage.later(session.commit(sealedBatch(1, state)))
      const told = stage.tell('batch', commit)
      await stage.server.untilBlocked(1)
      session.close()
      await told
      await stage.look(1)
      await stage.tell('holder', holder.query('commit'))
      await stage.server.untilBackends('daybook journal', 0)
      await stage.look(1)
    },
  },
  {
    name: 'an open batch whose client is gone is rolled back',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const one = await stage.connect('transaction')
      await openBatch(one, sealedBatch(1, state))
      one.close()
      await stage.server.untilBackends('transaction', 0)
      await stage.tell('other', session.commit(sealedBatch(1, state, 2)))
      await stage.look(1)
    },
  },
  {
    name: 'a batch needs a partition for its rows',
    async play(stage) {
      await stage.takeOver('first')
      const { session, connection, state } = await stage.writer(1, 'first')
      const far = sealedBatch(1, { ...state, head: 9_999_999 })
      await stage.tell('without', session.commit(far))
      await stage.tell('rollback', connection.query('rollback'))
      await stage.tell('there is', session.ensurePartition(9_999_999))
      await stage.tell('made', session.ensurePartition(10_000_000))
      await stage.tell('with', session.commit(far))
      await stage.look(1)
    },
  },
  {
    name: 'two that make the same partition wait for each other',
    async play(stage) {
      const one = await stage.begin()
      await stage.tell('one', one.query(partitionText, [25_000_000]))
      const { session } = await stage.session()
      const second = stage.later(session.ensurePartition(20_000_000))
      await stage.server.untilBlocked(1)
      await stage.tell('one', one.query('rollback'))
      await stage.tell('two', second)
      const three = await stage.begin()
      await stage.tell('three', three.query(partitionText, [25_000_000]))
      await stage.tell('three', three.query('commit'))
      const four = await stage.begin()
      await stage.tell('four', four.query(partitionText, [35_000_000]))
      await stage.tell('four', four.query('rollback'))
      const far = { epoch: 0, head: 35_000_000, digest: Buffer.alloc(32) }
      await stage.tell('not there', session.commit(sealedBatch(1, far)))
    },
  },
]

const partitionText = 'select daybook.ensure_partition($1) as last'
const recordText = `select first_seq, payload from daybook.journal
  where stream = $1 and first_seq = (
    select first_seq from daybook.journal
    where stream = $1 and first_seq <= $2 and part = 0
    order by first_seq desc limit 1)
  order by part`

/** The COPY of a batch by itself. */
function copyAlone(batch: SealedBatch): string {
  return fenceText(batch)
    .replace('begin; ', '')
    .replace(/; call.*/, '')
}

/** A batch with one record in three parts. */
function manyParts({ head, epoch, digest }: StreamState): SealedBatch {
  const batch = new Batch(1)
  batch.restart(head + 1)
  batch.addBytes(new Uint8Array(20_000).fill(3))
  const { copy, digest: newDigest } = batch.seal(epoch, digest, digestChain())
  return { stream: 1, epoch, head, digest, newHead: head + 1, newDigest, copy }
}
