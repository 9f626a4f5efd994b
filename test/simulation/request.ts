import { type FollowUp, followUpId, type NewTransaction } from '../actors/model.js'
import type { ClientAnswer, Command } from './commands.js'
import type { SimulatedProcess } from './process.js'

/** A command that a client has sent, and what it has learned. */
export interface Request {
  number: number
  command: Command
  process: SimulatedProcess | undefined
  sentAtMs: number
  /** Commits that there were when it was sent. */
  sentAtCommit: number
  answer?: ClientAnswer
}

/** A transaction that a command may make, under the name of its id. */
export interface Intent {
  id: string
  body: NewTransaction | FollowUp
}

export function intentsOf(command: Command): Intent[] {
  switch (command.does) {
    case 'post':
      return [{ id: command.body.id, body: command.body }]
    case 'follow up':
      return [{ id: followUpId(command.body), body: command.body }]
    case 'batch':
      return command.bodies.map((body) => ({ id: body.id, body }))
    default:
      return []
  }
}

export function isRead(command: Command): boolean {
  return command.does === 'read account' || command.does === 'read transaction'
}

/** Whether the answer says what became of the command, so that nobody needs to ask again. */
export function isDefinite(answer: ClientAnswer): boolean {
  switch (answer.outcome) {
    case 'unanswered':
    case 'lost':
    case 'not ready':
    case 'overloaded':
      return false
    case 'refused':
      return answer.code !== 'journal_unavailable' && answer.code !== 'old_id_not_checked'
    case 'batch':
      return answer.items.every((item) => item.outcome !== 'refused' || isDefinite(item))
    default:
      return true
  }
}

/**
 * A refusal that passes by itself, once what stands in the way is decided. Items of a batch that is
 * sent again stand in each other's way again.
 */
export function isTransient(answer: ClientAnswer): boolean {
  return answer.outcome === 'refused' && answer.code === 'funds_reserved'
}

/** Whether the command, or some of it, has taken effect. */
export function isDone(answer: ClientAnswer): boolean {
  const { outcome } = answer
  if (outcome === 'batch') return answer.items.some((item) => item.outcome !== 'refused')
  return outcome === 'accepted' || outcome === 'replayed'
}
