import { endOldBackends, fenceText, inTransaction } from '../../../src/journal/postgres-session.js'
import { after, sealedBatch } from './sealed-batch.js'
import { lockText, openBatch, openRows, type Script } from './stage.js'

/** Who settles and confirms, while batches are under way. */
export const settleScripts: readonly Script[] = [
  {
    name: 'a fence that waits for a settlement is fenced when that commits',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const other = await stage.begin()
      await stage.tell('lock', other.query(lockText, [1]))
      await stage.tell('raise', other.query(raiseText, [1]))
      const commit = stage.later(session.commit(sealedBatch(1, state)))
      await stage.server.untilBlocked(1)
      await stage.tell('settlement', other.query('commit'))
      await stage.tell('batch', commit)
      await stage.look(1)
    },
  },
  {
    name: 'a fence that waits for a settlement goes through when that is rolled back',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const other = await stage.begin()
      await other.query(raiseText, [1])
      const commit = stage.later(session.commit(sealedBatch(1, state)))
      await stage.server.untilBlocked(1)
      await stage.tell('settlement', other.query('rollback'))
      await stage.tell('batch', commit)
      await stage.look(1)
    },
  },
  {
    name: 'a fence whose epoch is too old waits for nobody',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const other = await stage.begin()
      await other.query(lockText, [1])
      await stage.tell('batch', session.commit(sealedBatch(1, { ...state, epoch: 0 })))
      await stage.tell('other', other.query('commit'))
    },
  },
  {
    name: 'settling ends an old backend that waits, and waits for the row itself',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const holder = await stage.begin()
      await holder.query(lockText, [1])
      const old = stage.later(session.commit(sealedBatch(1, state)))
      const told = stage.tell('old batch', old)
      await stage.server.untilBlocked(1)
      const { session: next, connection } = await stage.session()
      const settling = stage.later(next.settle(1, 'first'))
      await told
      await stage.tell('settle', settling)
      await stage.tell('is it in a transaction', connection.query('rollback'))
      const again = stage.later(next.settle(1, 'first'))
      await stage.server.untilBlocked(1)
      await stage.tell('holder', holder.query('commit'))
      await stage.tell('again', again)
      await stage.look(1)
    },
  },
  {
    name: 'settling after an old backend has committed sees its head',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const holder = await stage.begin()
      await holder.query(lockText, [1])
      const old = stage.later(session.commit(sealedBatch(1, state)))
      await stage.server.untilBlocked(1)
      session.close()
      await stage.tell('old batch', old)
      await holder.query('commit')
      await stage.server.untilBackends('daybook journal', 0)
      const { session: next } = await stage.session()
      const settled = await next.settle(1, 'first')
      stage.say(`epoch ${settled.epoch}, head ${settled.head}`)
      await stage.tell('next', next.commit(sealedBatch(1, settled)))
      await stage.look(1)
    },
  },
  {
    name: 'a settlement that waits for an open batch of another backend sees what it has done',
    async play(stage) {
      await stage.takeOver('first')
      const { state } = await stage.writer(1, 'first')
      const stranger = await stage.connect('transaction')
      await openBatch(stranger, sealedBatch(1, state, 2))
      const { session } = await stage.session()
      const settling = stage.later(session.settle(1, 'first'))
      await stage.server.untilBlocked(1)
      await stage.tell('stranger', stranger.query('commit'))
      await stage.tell('settle', settling)
    },
  },
  {
    name: 'rows without a fence hold no stream: settling overtakes them, and they are fenced',
    async play(stage) {
      await stage.takeOver('first')
      const { state } = await stage.writer(1, 'first')
      const stranger = await stage.connect('transaction')
      const batch = sealedBatch(1, state)
      await openRows(stranger, batch)
      const { session } = await stage.session()
      const settled = await session.settle(1, 'first')
      const next = stage.later(session.commit(sealedBatch(1, settled)))
      await stage.server.untilBlocked(1)
      await stage.tell('fence', stranger.query(fenceOf(batch)))
      await stage.tell('next', next)
      await stage.tell('stranger', stranger.query('commit'))
      await stage.look(1)
    },
  },
  {
    name: 'who does not own a stream neither settles it nor ends its backend',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const { session: other } = await stage.session()
      await stage.tell('another', other.settle(1, 'second'))
      await stage.tell('another', other.confirm(1, state.epoch))
      await stage.tell('no stream', other.settle(7, 'first'))
      await stage.tell('no head', other.readHead(7))
      await stage.tell('owner', session.confirm(1, state.epoch))
      await stage.tell('owner, another epoch', session.confirm(1, state.epoch + 1))
      await stage.tell('owner, no stream', session.confirm(7, 1))
    },
  },
  {
    name: 'settling twice with one session ends nothing and raises the epoch twice',
    async play(stage) {
      await stage.takeOver('first')
      const { session, state } = await stage.writer(1, 'first')
      const again = await session.settle(1, 'first')
      stage.say(`${again.epoch - state.epoch}`)
      const batch = sealedBatch(1, again)
      await stage.tell('batch', session.commit(batch))
      await stage.tell('batch', session.commit(sealedBatch(1, after(batch))))
    },
  },
  {
    name: 'of a backend that two streams name only one row says that it is gone',
    async play(stage) {
      const first = await stage.takeOver('first')
      await stage.openGeneration('first', first, 2)
      const { session, connection } = await stage.session()
      await session.settle(2, 'first')
      await session.settle(3, 'first')
      const other = await stage.connect()
      const notices: string[] = []
      other.onNotice((code) => notices.push(String(code)))
      await stage.tell('both', endOldBackends(other, { streams: [2, 3] }))
      stage.say(`notices ${notices}`)
      await stage.tell('backend', connection.query('commit'))
      await stage.tell('both', endOldBackends(other, { streams: [2, 3] }))
      stage.say(`notices ${notices}`)
    },
  },
  {
    name: 'in one transaction the backends are those of its first look',
    async play(stage) {
      await stage.takeOver('first')
      const one = await stage.begin()
      await stage.tell('nobody', endOldBackends(one, { streams: [1] }))
      const { session, state } = await stage.writer(1, 'first')
      await stage.tell('not seen', endOldBackends(one, { streams: [1] }))
      await stage.tell('it lives', session.confirm(1, state.epoch))
      await one.query('commit')
      await stage.tell('seen', endOldBackends(one, { streams: [1] }))
      await stage.tell('it is gone', session.confirm(1, state.epoch))
    },
  },
  {
    name: 'a transaction that fails in the middle does not commit',
    async play(stage) {
      await stage.takeOver('first')
      const connection = await stage.connect()
      const work = inTransaction(connection, async () => {
        await connection.query(raiseText, [1])
        await connection
          .query(fenceOf(sealedBatch(1, { epoch: 9, head: 3, digest })))
          .catch(swallow)
      })
      await stage.tell('swallowed', work)
      await stage.tell('commit', connection.query('commit'))
      await stage.look(1)
    },
  },
]

const digest = Buffer.alloc(32, 1)
const swallow = () => undefined

const raiseText = `update daybook.stream set epoch = epoch + 1, backend_pid = pg_backend_pid(),
    backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid())
  where id = $1`

/** The fence of a batch by itself. */
function fenceOf(batch: Parameters<typeof fenceText>[0]): string {
  return /call .*?\)/.exec(fenceText(batch))?.[0] ?? ''
}
