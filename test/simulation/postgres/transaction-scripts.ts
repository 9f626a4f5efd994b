import { sealedBatch } from './sealed-batch.js'
import { headText, lockText, type Script } from './stage.js'

/** What any transaction does, whatever it is for. */
export const transactionScripts: readonly Script[] = [
  {
    name: 'several statements at once answer as the last of them',
    async play(stage) {
      const connection = await stage.connect()
      const { command, rows } = await connection.query(
        'begin; set local lock_timeout = 60000; set local idle_in_transaction_session_timeout = 60000',
      )
      stage.say(`${command} with ${rows.length} rows`)
      await stage.tell('commit', connection.query('commit'))
    },
  },
  {
    name: 'who waits too long for a row fails, and so does all that follows',
    async play(stage) {
      const holder = await stage.begin()
      await stage.tell('held', holder.query(lockText, [1]))
      const other = await stage.begin(100)
      await stage.tell('lock', other.query(lockText, [1]))
      await stage.tell('read', other.query(headText, [1]))
      await stage.tell('begin', other.query('begin'))
      await stage.tell('commit', other.query('commit'))
      await stage.tell('read', other.query(headText, [1]))
      await stage.tell('holder', holder.query('commit'))
      await stage.tell('lock', other.query(lockText, [1]))
    },
  },
  {
    name: 'who waits too long for the book fails, and reads it without waiting',
    async play(stage) {
      const holder = await stage.begin()
      await stage.tell('held', holder.query('select from daybook.book for update'))
      const other = await stage.begin(100)
      await stage.tell('lock', other.query('select from daybook.book for update'))
      await stage.tell('rollback', other.query('rollback'))
      await stage.tell('update', holder.query(versionText, [1]))
      await stage.tell('commit', holder.query('commit'))
    },
  },
  {
    name: 'locks are given in the order of asking',
    async play(stage) {
      const one = await stage.begin()
      await one.query(lockText, [1])
      const order: string[] = []
      const waiting: Promise<unknown>[] = []
      for (const name of ['two', 'three', 'four']) {
        const next = await stage.begin()
        const locked = next.query(lockText, [1]).then(async () => {
          order.push(name)
          await next.query('commit')
        })
        waiting.push(locked)
        await stage.server.untilBlocked(waiting.length)
      }
      await one.query('commit')
      await Promise.all(waiting)
      stage.say(order.join())
    },
  },
  {
    name: 'a client that falls silent in a transaction loses it, and its locks',
    async play(stage) {
      const silent = await stage.begin()
      await stage.tell('lock', silent.query(lockText, [1]))
      await stage.tell('limit', silent.query(limitText))
      const other = await stage.begin()
      await stage.tell('other', other.query(lockText, [1]))
      await stage.tell('silent', silent.query('commit'))
    },
  },
  {
    name: 'a setting of a transaction ends with what has failed in it',
    async play(stage) {
      const failed = await stage.connect()
      const stale = sealedBatch(1, { epoch: 7, head: 0, digest: Buffer.alloc(32) })
      await stage.tell('fence', failed.query(`begin; ${limitText}; ${fenceText(stale)}`))
      const holder = await stage.begin()
      await holder.query(lockText, [1])
      const other = await stage.begin(400)
      await stage.tell('a while', other.query(lockText, [1]))
      await stage.tell('failed', failed.query('commit'))
    },
  },
  {
    name: 'of two that wait for each other one fails',
    async play(stage) {
      const first = await stage.takeOver('first')
      await stage.openGeneration('first', first, 2)
      const one = await stage.begin()
      const two = await stage.begin()
      await one.query(lockText, [2])
      await two.query(lockText, [3])
      const crossed = [one.query(lockText, [3]), two.query(lockText, [2])]
      const outcomes = await Promise.allSettled(crossed)
      const codes = outcomes.map((each) => (each.status === 'rejected' ? each.reason.code : 'held'))
      const ends = [await one.query('commit'), await two.query('commit')]
      const commands = ends.map(({ command }) => command)
      // Which of them depends on who looks for a deadlock first.
      stage.say(`${codes.sort()} ${commands.sort()}`)
    },
  },
  {
    name: 'an end without a beginning, and a beginning too many, are only noticed',
    async play(stage) {
      const connection = await stage.connect()
      const notices: string[] = []
      connection.onNotice((code) => notices.push(String(code)))
      await stage.tell('commit', tagOf(connection.query('commit')))
      await stage.tell('rollback', tagOf(connection.query('rollback')))
      await stage.tell('begin', tagOf(connection.query('begin')))
      await stage.tell('begin', tagOf(connection.query('begin')))
      await stage.tell('rollback', tagOf(connection.query('rollback')))
      await stage.tell('rollback', tagOf(connection.query('rollback')))
      stage.say(notices.join())
    },
  },
  {
    name: 'what is not committed is seen by nobody else, and gone with its connection',
    async play(stage) {
      await stage.takeOver('first')
      const one = await stage.begin()
      await one.query(takeText, ['second'])
      await stage.tell('one', one.query(headText, [1]))
      await stage.look(1)
      one.close()
      await stage.server.untilBackends('transaction', 0)
      await stage.look(1)
    },
  },
  {
    name: 'queries of one connection are answered in their order, and after its end not at all',
    async play(stage) {
      const connection = await stage.connect()
      const asked = [
        connection.query('begin'),
        connection.query(headText, [1]),
        connection.query('commit'),
      ]
      for (const each of asked) await stage.tell('asked', tagOf(each))
      await stage.tell('end', connection.end())
      await stage.tell('after', connection.query(headText, [1]))
      await stage.tell('again', connection.end())
      const other = await stage.connect()
      const late = stage.later(other.query(headText, [1]))
      other.close()
      await stage.tell('late', late)
      await stage.tell('after', other.query(headText, [1]))
    },
  },
]

const versionText = 'update daybook.book set record_version = greatest(record_version, $1)'
const limitText = 'set local idle_in_transaction_session_timeout = 100'
const takeText = `update daybook.stream
  set epoch = epoch + 1, owner = $1, backend_pid = null, backend_start = null
  where not closed`

function fenceText({ epoch, head, digest, newHead, newDigest }: ReturnType<typeof sealedBatch>) {
  const [before, next] = [digest, newDigest].map((bytes) => `'\\x${bytes.toString('hex')}'`)
  return `call daybook.fence(1, ${epoch}, ${head}, ${before}, ${newHead}, ${next})`
}

async function tagOf(work: Promise<{ command: string }>): Promise<string> {
  return (await work).command
}
