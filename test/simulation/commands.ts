import type { EngineAnswer } from '../actors/engine-client.js'
import type { AccountChange, FollowUp, NewAccount, NewTransaction } from '../actors/model.js'

/** What clients ask for. */
export type Command =
  | { does: 'post'; body: NewTransaction }
  | { does: 'follow up'; body: FollowUp }
  | { does: 'batch'; how: 'atomic' | 'ordered' | 'unordered'; bodies: NewTransaction[] }
  | { does: 'create account'; body: NewAccount & { striped?: true } }
  | { does: 'change account'; body: AccountChange }
  | { does: 'read account'; id: string }
  | { does: 'read transaction'; id: string }

/**
 * What a client learns: an answer of the server; `unanswered` (504: nobody knows), `lost` (the
 * connection broke before an answer) or `not ready` (503: nothing was accepted).
 */
export type ClientAnswer = EngineAnswer | { outcome: 'lost' | 'not ready' }
