import type { MessageName, StepEvent } from './protocol-watch.js'
import { type CommandKind, transactionKinds } from './step-commands.js'

/** A place where a process may die, and the commands that come by. */
export interface ProtocolStep {
  name: string
  event: StepEvent
  kinds: readonly CommandKind[]
}

const batches = ['batch', 'refused batch'] as const
const accounts = ['striped creation', 'striped change', 'striped closing'] as const
const decided = [...transactionKinds, 'batch', ...accounts] as const
const refused = ['refused transfer', 'refused batch', 'refused closing'] as const
const asked = [...transactionKinds, 'batch', 'refused transfer'] as const
const changes = ['striped change', 'striped closing', 'refused closing'] as const

/** Messages in their order: who sends them, and because of what. */
const messages: readonly [sender: string, message: MessageName, kinds: readonly CommandKind[]][] = [
  ['home', 'claim', batches],
  ['participant', 'claimed', batches],
  ['home', 'reserve', asked],
  ['home', 'shut', changes],
  ['participant', 'vote', [...asked, ...changes]],
  ['home', 'release', refused],
  ['participant', 'released', refused],
  ['home', 'apply', decided],
  ['participant', 'applied', decided],
  ['home', 'finished', ['batch']],
]

/** Home also appends what needs no vote; `append` is what a vote makes it append. */
const voted = [...transactionKinds, 'batch', 'striped change', 'striped closing'] as const

export const protocolSteps: readonly ProtocolStep[] = [
  ...messages.flatMap(([sender, message, kinds]) => [
    { name: `before the ${sender} sends ${message}`, event: `before ${message}` as const, kinds },
    { name: `after ${message} has been taken`, event: `after ${message}` as const, kinds },
  ]),
  {
    name: 'before the home takes the vote that lets it append its record',
    event: 'before home append',
    kinds: voted,
  },
  {
    name: 'after the home has appended its record, before that is sent',
    event: 'after home append',
    kinds: voted,
  },
  {
    name: 'before the participant appends its record',
    event: 'before participant append',
    kinds: decided,
  },
  {
    name: 'after the participant has appended its record, before that is sent',
    event: 'after participant append',
    kinds: decided,
  },
  ...(['home', 'participant'] as const).flatMap((role) => [
    {
      name: `before the commit of the ${role} reaches Postgres`,
      event: `before ${role} commit` as const,
      kinds: decided,
    },
    {
      name: `while Postgres commits the record of the ${role}`,
      event: `during ${role} commit` as const,
      kinds: decided,
    },
    {
      name: `after the commit of the ${role}, before it hears of it`,
      event: `after ${role} commit` as const,
      kinds: decided,
    },
  ]),
  { name: 'before the home answers', event: 'before accepted answer', kinds: decided },
  { name: 'after the home has answered', event: 'after accepted answer', kinds: decided },
  { name: 'before the home answers a refusal', event: 'before refused answer', kinds: refused },
  { name: 'after the home has answered a refusal', event: 'after refused answer', kinds: refused },
]
