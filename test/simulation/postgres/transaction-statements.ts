import type { Session } from './session.js'
import type { Outcome, Statement } from './statements.js'

/** Transactions and settings. BEGIN is the first of them. */
export const transactionStatements: readonly Statement[] = [
  { pattern: /^begin$/, run: begin },
  { pattern: /^commit$/, run: (session) => session.commit() },
  { pattern: /^rollback$/, run: (session) => session.rollback() },
  {
    pattern: /^set local (lock_timeout|idle_in_transaction_session_timeout) = (\d+)$/,
    run({ transaction }, _values, [, setting, ms]) {
      if (setting === 'lock_timeout') transaction.lockTimeoutMs = Number(ms)
      else transaction.idleTimeoutMs = Number(ms)
      return { tag: 'SET', rows: [] }
    },
  },
  {
    pattern: /^set local synchronous_commit = on$/,
    run() {
      return { tag: 'SET', rows: [] }
    },
  },
  {
    pattern: /^select set_config\('synchronous_commit', 'on', false\), set_config\(/,
    kind: 'connect',
    run() {
      return { tag: 'SELECT', rows: [{}] }
    },
  },
  {
    pattern:
      /^select current_setting\('fsync'\) as fsync, current_setting\('server_version_num'\) as version$/,
    kind: 'connect',
    run() {
      return { tag: 'SELECT', rows: [{ fsync: 'on', version: '180004' }] }
    },
  },
]

function begin(session: Session): Outcome {
  session.begin()
  return { tag: 'BEGIN', rows: [] }
}
