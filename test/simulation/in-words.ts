import type { NewTransaction } from '../actors/model.js'
import type { ClientAnswer, Command } from './commands.js'
import type { Act } from './script.js'

/** Steps, commands and answers as a reader of a trace wants them. */

export function describeAct(act: Act): string {
  switch (act.act) {
    case 'send':
      return `a client sends: ${describeCommand(act.command)}`
    case 'kill':
      return `kill -9 of the newest process; the next one starts with ${act.shards} shards`
    case 'stop':
      return `SIGTERM to the process that serves; the next one starts with ${act.shards} shards`
    case 'start':
      return `another process is started, with ${act.shards} shards`
    case 'freeze':
      return `the newest process is frozen for ${Math.round(act.forMs)} ms`
    case 'set clock':
      return `somebody sets the wall clock by ${act.byMs} ms`
    case 'strike':
      return act.strikes
        .map(
          ({ of, phase, effect, skip }) =>
            `armed: "${effect}" ${phase}, at statement "${of}" after ${skip} others`,
        )
        .join('; ')
    case 'crash postgres':
      return `kill -9 of Postgres, which is away for ${Math.round(act.forMs)} ms`
    case 'terminate backends':
      return 'an operator terminates all backends'
    case 'build snapshot':
      return `a snapshot is to be built, and ${act.keep} of them kept`
    case 'read models follow':
      return `the read models follow ${Math.round(act.share * 100)} % of what they lack`
    case 'damage snapshot':
      return 'a bit of the newest snapshot flips'
    default:
      return `${act.act} for ${Math.round(act.forMs)} ms`
  }
}

export function describeCommand(command: Command): string {
  switch (command.does) {
    case 'post':
      return describeTransaction(command.body)
    case 'follow up': {
      const { kind, target, id, amounts, keepRest } = command.body
      const part =
        amounts === undefined ? '' : ` of ${amounts}${keepRest ? ', keeping the rest' : ''}`
      return `${kind} ${target} as ${id}${part}`
    }
    case 'batch':
      return `${command.how} batch: ${command.bodies.map(describeTransaction).join('; ')}`
    case 'create account': {
      const { id, class: accountClass, striped } = command.body
      return `create ${striped ? 'striped ' : ''}${accountClass} account ${id}`
    }
    case 'change account': {
      const { id, ...change } = command.body
      return `change account ${id}: ${JSON.stringify(change)}`
    }
    case 'read account':
      return `read account ${command.id}`
    case 'read transaction':
      return `read transaction ${command.id}`
  }
}

function describeTransaction(body: NewTransaction): string {
  const postings = body.postings
    .map(({ debit, credit, amount }) => `${amount} from ${debit} to ${credit}`)
    .join(' and ')
  const terms = [
    body.expiresAt === undefined ? '' : `, expires at ${body.expiresAt}`,
    ...(body.conditions ?? []).map(({ account, version }) => `, if ${account} is at ${version}`),
    body.imported ? ', imported' : '',
    body.code === undefined ? '' : `, code ${body.code}`,
  ]
  return `${body.pending ? 'hold' : 'post'} ${body.id}: ${postings}${terms.join('')}`
}

export function describeAnswer(answer: ClientAnswer): string {
  switch (answer.outcome) {
    case 'refused':
      return answer.index === undefined ? answer.code : `${answer.code} at ${answer.index}`
    case 'accepted':
    case 'replayed':
    case 'read':
      return `${answer.outcome}, seq ${answer.seq}, ${answer.transaction.status}`
    case 'account': {
      const { version, status, debitsPosted, creditsPosted } = answer.account
      return `account at version ${version}, ${status}, posted ${debitsPosted}/${creditsPosted}`
    }
    case 'batch':
      return answer.items
        .map((item) => (item.outcome === 'refused' ? item.code : `${item.outcome} ${item.seq}`))
        .join(', ')
    default:
      return answer.outcome
  }
}
