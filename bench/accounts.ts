import { Agent, request } from 'node:http'
import { IdSource } from './ids.js'
import type { Server } from './server.js'
import type { AccountSet } from './spread.js'

/** No customer ever reaches it, but it has to be checked each time. Decimal text and minor units. */
export const CUSTOMER_OVERDRAFT = { decimal: '1000000000.00', minorUnits: '100000000000' }
const CONNECTIONS = 32

/**
 * The hot account gets the greatest id. The peer locks accounts in the order of their ids, so that
 * it holds the lock that everybody waits for as shortly as it can.
 */
export function makeAccounts(customers: number, { striped } = { striped: false }): AccountSet {
  const source = new IdSource()
  const ids = Array.from({ length: customers + 1 }, () => source.next())
  return { ids: ids.sort().reverse(), striped }
}

/** Creates the accounts over Daybook's API. */
export async function createAccounts(server: Server, accounts: AccountSet): Promise<void> {
  await forEach(accounts, async (agent, id, index) => {
    const isHot = index === 0
    const { status, body } = await ask(server, agent, {
      method: 'POST',
      path: '/v1/accounts',
      body: {
        id,
        currency: 'EUR',
        class: 'liability',
        overdraftLimit: isHot ? 'unlimited' : CUSTOMER_OVERDRAFT.decimal,
        ...(isHot && accounts.striped ? { striped: true } : {}),
      },
    })
    if (status !== 201) throw new Error(`account not created: ${status} ${body}`)
  })
}

/** Minor units that Daybook says it has posted to all the accounts together. */
export async function sumAccounts(
  server: Server,
  accounts: AccountSet,
): Promise<{ debited: bigint; credited: bigint }> {
  const sum = { debited: 0n, credited: 0n }
  await forEach(accounts, async (agent, id) => {
    const { status, body } = await ask(server, agent, { method: 'GET', path: `/v1/accounts/${id}` })
    if (status !== 200) throw new Error(`account not read: ${status} ${body}`)
    const { data }: { data: { balances: { debitsPosted: string; creditsPosted: string } } } =
      JSON.parse(body)
    sum.debited += minorUnits(data.balances.debitsPosted)
    sum.credited += minorUnits(data.balances.creditsPosted)
  })
  return sum
}

/** EUR has two decimals, and Daybook writes them all. */
function minorUnits(decimal: string): bigint {
  if (!/^\d+\.\d{2}$/.test(decimal)) throw new Error(`${decimal} is not an amount in EUR`)
  return BigInt(decimal.replace('.', ''))
}

/** Several accounts at once; ends with the first failure. */
async function forEach(
  accounts: AccountSet,
  act: (agent: Agent, id: string, index: number) => Promise<void>,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  let next = 0
  const lanes = Array.from({ length: CONNECTIONS }, async () => {
    while (next < accounts.ids.length) {
      const index = next++
      await act(agent, accounts.ids[index], index)
    }
  })
  try {
    await Promise.all(lanes)
  } finally {
    next = accounts.ids.length
    agent.destroy()
  }
}

function ask(
  server: Server,
  agent: Agent,
  question: { method: 'GET' | 'POST'; path: string; body?: object },
): Promise<{ status: number; body: string }> {
  const { method, path, body } = question
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: server.host,
        port: server.port,
        path,
        method,
        agent,
        headers: body ? { 'content-type': 'application/json' } : {},
      },
      (incoming) => {
        let text = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (part: string) => {
          text += part
        })
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: text }))
        incoming.on('error', reject)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body && JSON.stringify(body))
  })
}
