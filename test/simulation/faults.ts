import type { StrikeEffect, StrikePhase } from './postgres/simulated-postgres.js'

/** Where in a statement's life a strike meets it. */
export const strikePhases: readonly StrikePhase[] = [
  'on the way',
  'half arrived',
  'before the fence',
  'while it commits',
  'before the answer',
]

/** What a strike does in any phase. */
export const strikeEffects: readonly StrikeEffect[] = [
  'cut',
  'half-open',
  'late',
  'error',
  'terminate',
]

/** Every fault, by the name under which it is counted. */
export const faults: readonly string[] = [
  ...strikePhases.flatMap((phase) => strikeEffects.map((effect) => `${effect} ${phase}`)),
  'standby cancelled before the answer',
  'connect while Postgres is down',
  'refused connect',
  'hanging connect',
  'slow disk',
  'full disk',
  'postgres crash',
  'postgres crash while one commits',
  'slow message',
  'kill',
  'kill at the start',
  'stop',
  'second process',
  'freeze',
  'freeze past a take-over',
  'clock set back',
  'clock set forward',
  'snapshot built',
  'snapshot damaged',
  'snapshot passed over',
  'snapshots out of reach',
  'read models out of reach',
]
