import { batchScripts } from './postgres/batch-scripts.js'
import { settleScripts } from './postgres/settle-scripts.js'
import { type Script, type Server, Stage } from './postgres/stage.js'
import { takeOverScripts } from './postgres/take-over-scripts.js'
import { transactionScripts } from './postgres/transaction-scripts.js'

/**
 * What the simulated Postgres and a real one must answer alike. Each script has several connections
 * do something in an order that it makes sure of, and says what came of it, without times.
 */
export const scripts: readonly Script[] = [
  ...batchScripts,
  ...settleScripts,
  ...takeOverScripts,
  ...transactionScripts,
]

/** Plays a script on a server with a new book. */
export async function play(script: Script, server: Server): Promise<string[]> {
  const stage = new Stage(server)
  try {
    await script.play(stage)
  } finally {
    stage.close()
  }
  return stage.said
}
