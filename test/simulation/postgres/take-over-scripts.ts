import assert from 'node:assert/strict'
import { openGeneration } from '../../../src/journal/generation.js'
import { endOldBackends } from '../../../src/journal/postgres-session.js'
import { readLayout, takeOver } from '../../../src/journal/take-over.js'
import { sealedBatch } from './sealed-batch.js'
import { headText, lockText, openBatch, type Script, type Stage } from './stage.js'

/** Names the backend of this connection as the stream's writer, as a settlement does. */
const settleText = `update daybook.stream set epoch = epoch + 1, backend_pid = pg_backend_pid(),
  backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid())
  where id = $1`

/** Take-overs and new generations, against each other and against writers. */
export const takeOverScripts: readonly Script[] = [
  {
    name: 'a take-over raises epochs, ends backends and fences who wrote before',
    async play(stage) {
      await stage.tell('layout', stage.takeOver('first'))
      const { session, state } = await stage.writer(1, 'first')
      await stage.look(1)
      await stage.tell('layout', stage.takeOver('second'))
      await stage.tell('old session', session.confirm(1, state.epoch))
      const { session: other } = await stage.session()
      await stage.tell('old epoch', other.confirm(1, state.epoch))
      await stage.tell('old owner', other.settle(1, 'first'))
      await stage.tell('old batch', other.commit(sealedBatch(1, state)))
      await stage.look(1)
    },
  },
  {
    name: 'a take-over ends the backend that has an open batch, which is rolled back',
    async play(stage) {
      await stage.takeOver('first')
      const { connection, state } = await stage.writer(1, 'first')
      await stage.tell('open', openBatch(connection, sealedBatch(1, state)))
      await stage.tell('take-over', stage.takeOver('second'))
      await stage.tell('commit', connection.query('commit'))
      await stage.look(1)
    },
  },
  {
    name: 'a take-over tries again while a backend that no stream names holds a row',
    async play(stage) {
      await stage.takeOver('first')
      const holder = await stage.begin()
      await holder.query(lockText, [1])
      let tries = 0
      const taking = stage.takeOver('second', () => {
        tries += 1
        if (tries === 1) void stage.tell('holder', holder.query('commit'))
      })
      await stage.tell('take-over', taking)
      stage.say(`tried again ${tries} times`)
      await stage.look(1)
    },
  },
  {
    name: 'a take-over ends the backend of a settlement that commits while it waits',
    async play(stage) {
      await stage.takeOver('first')
      const settling = await stage.begin()
      await settling.query(lockText, [1])
      await stage.tell('settlement', settling.query(settleText, [1]))
      const taking = stage.later(stage.takeOver('second'))
      await stage.server.untilBlocked(1)
      await stage.tell('settled', settling.query('commit'))
      await stage.tell('take-over', taking)
      const left = await stage.tell('its backend', settling.query(headText, [1]))
      assert.equal(left, 'connection lost')
      await stage.look(1)
    },
  },
  {
    name: 'a generation closes the streams before it and opens new ones',
    async play(stage) {
      const first = await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const batch = sealedBatch(1, state)
      await session.commit(batch)
      await stage.tell('opened', stage.openGeneration('first', first, 3))
      const now = await session.readHead(1)
      await stage.tell('batch', session.commit(sealedBatch(1, now)))
      const { session: other } = await stage.session()
      await stage.tell('settle', other.settle(1, 'first'))
      await stage.tell('confirm', other.confirm(1, now.epoch))
      await stage.tell('another number', stage.openGeneration('first', first, 2))
      await stage.tell('the same again', stage.openGeneration('first', first, 3))
      const { session: writer, state: opened } = await stage.writer(3, 'first')
      await stage.tell('new stream', writer.commit(sealedBatch(3, opened)))
      await stage.look(1, 2, 3, 4, 5)
    },
  },
  {
    name: 'generation after generation, and who reads the layout meanwhile sees whole ones',
    async play(stage) {
      const first = await stage.takeOver('first')
      const reader = await stage.connect()
      const holder = await stage.begin()
      await holder.query(lockText, [1])
      const opening = stage.later(stage.openGeneration('first', first, 2))
      await stage.server.untilBlocked(1)
      await stage.tell('before', readLayout(reader))
      await holder.query('commit')
      const second = await opening
      await stage.tell('after', readLayout(reader))
      const third = await stage.openGeneration('first', second, 1)
      await stage.tell('third', readLayout(reader))
      await stage.tell('from the first', stage.openGeneration('first', first, 2))
      await stage.tell('fourth', stage.openGeneration('first', third, 7))
    },
  },
  ...[true, false].map((openerFirst) => ({
    name: `${openerFirst ? 'a take-over that waits for a generation' : 'a generation that waits for a take-over'} finds the book changed`,
    async play(stage: Stage) {
      const book = await stage.takeOver('first')
      const holder = await stage.begin()
      await holder.query('select from daybook.book for update')
      const opener = await stage.connect('daybook start')
      const taker = await stage.connect('daybook start')
      const open = () => openGeneration(opener, 'first', book, 2, () => undefined)
      const take = () => takeOver(taker, 'second', book, () => undefined)
      const one = stage.later(openerFirst ? open() : take())
      await stage.server.untilBlocked(1)
      const two = stage.later(openerFirst ? take() : open())
      await stage.server.untilBlocked(2)
      await stage.tell('holder', holder.query('commit'))
      await stage.tell('first', one)
      await stage.tell('second', two)
      await stage.look(1, 2, 3)
    },
  })),
  {
    name: 'a batch under way when its stream is closed is in before it is closed',
    async play(stage) {
      const first = await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const one = await stage.connect('transaction')
      await openBatch(one, sealedBatch(1, state, 2))
      const opening = stage.later(stage.openGeneration('first', first, 2))
      await stage.server.untilBlocked(1)
      await stage.tell('batch', one.query('commit'))
      await stage.tell('opened', opening)
      await stage.tell('next', session.commit(sealedBatch(1, await session.readHead(1))))
      await stage.look(1)
    },
  },
  ...(['taken over', 'closed'] as const).map((change) => ({
    name: `a stream that is ${change} names no backend any more`,
    async play(stage: Stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const other = await stage.connect()
      if (change === 'closed') await stage.tell(change, other.query(closeText))
      else await stage.tell(change, other.query(takeText, ['second']))
      await stage.tell('ended', endOldBackends(other, { streams: [1] }))
      await stage.tell('it lives', session.confirm(1, state.epoch))
    },
  })),
  {
    name: 'a batch that waits for a generation to open is fenced',
    async play(stage) {
      const first = await stage.takeOver('first')
      await stage.openGeneration('first', first, 2)
      const { session, state } = await stage.writer(2, 'first')
      const one = await stage.begin()
      await stage.tell('close', one.query(closeText))
      const batch = stage.later(session.commit(sealedBatch(2, state)))
      await stage.server.untilBlocked(1)
      await stage.tell('commit', one.query('commit'))
      await stage.tell('batch', batch)
    },
  },
  {
    name: 'an update leaves out rows that have been closed, and does not see new ones',
    async play(stage) {
      const first = await stage.takeOver('first')
      await stage.openGeneration('first', first, 2)
      const one = await stage.begin()
      await stage.tell('close', one.query(closeText))
      await stage.tell('insert', one.query(insertText, [3, 'first', 2]))
      const other = await stage.begin()
      await stage.tell('nobody else', other.query(othersText, ['first']))
      const taking = stage.later(other.query(takeText, ['second']))
      await stage.server.untilBlocked(1)
      await one.query('commit')
      await stage.tell('take', taking)
      await stage.tell('new ones', other.query(othersText, ['second']))
      await stage.tell('take', other.query(takeText, ['second']))
      await stage.tell('commit', other.query('commit'))
      await stage.look(2, 3, 4, 5)
    },
  },
  ...['commit', 'rollback'].map((end) => ({
    name: `two that add the same streams wait for each other, until the ${end} of the first`,
    async play(stage: Stage) {
      const one = await stage.begin()
      await stage.tell('one', one.query(insertText, [2, 'first', 2]))
      const other = await stage.begin()
      const second = stage.later(other.query(insertText, [2, 'second', 3]))
      await stage.server.untilBlocked(1)
      await stage.tell('end', one.query(end))
      await stage.tell('other', second)
      await stage.tell('other', other.query('commit'))
      await stage.look(2, 3, 4)
    },
  })),
]

const closeText = `update daybook.stream set closed = true, backend_pid = null, backend_start = null
  where not closed`
const insertText = `insert into daybook.stream (id, generation, owner)
  select (select max(id) from daybook.stream) + number, $1, $2
  from generate_series(1, $3) number
  returning id`
const othersText = 'select from daybook.stream where not closed and owner is distinct from $1'
const takeText = `update daybook.stream
  set epoch = epoch + 1, owner = $1, backend_pid = null, backend_start = null
  where not closed`
