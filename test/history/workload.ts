import { below as belowOf } from '../actors/random.js'
import type { ApiServer, Json } from '../api/server.js'

/** What a random workload has done, as the API answered it. */
export interface Done {
  accounts: string[]
  /** Ids of transactions, holds, and what followed them. */
  transactions: string[]
  /** Of the last write. */
  position: string
}

const dayMs = 86_400_000
const accountKinds = [
  { class: 'asset', overdraftLimit: 'unlimited' },
  { class: 'liability', overdraftLimit: '1000', type: 'current' },
  { class: 'income', striped: true },
  { class: 'expense', striped: true },
]

/** Opens accounts of all kinds and posts, holds, settles and reverses between them. */
export async function runWorkload(
  api: ApiServer,
  random: () => number,
  steps: number,
): Promise<Done> {
  const below = (end: number) => belowOf(random, end)
  const done: Done = { accounts: [], transactions: [], position: '' }
  const holds: string[] = []
  for (let index = 0; index < 12; index++) {
    const { json } = await api.post('/v1/accounts', {
      id: `account:${index}`,
      currency: 'EUR',
      ...accountKinds[index % accountKinds.length],
    })
    done.accounts.push(json.data.id)
  }
  const note = ({ status, json }: { status: number; json: Json }): string | undefined => {
    if (status !== 201) return undefined
    done.transactions.push(json.data.id)
    done.position = json.meta.position
    return json.data.id
  }
  const posting = () => {
    const debit = below(done.accounts.length)
    const credit = (debit + 1 + below(done.accounts.length - 1)) % done.accounts.length
    const amount = `${below(20)}.${below(10)}1`
    return { debit: `account:${debit}`, credit: `account:${credit}`, amount }
  }
  const one = (list: string[]) => list[below(list.length)]
  const actions: (() => Promise<unknown>)[] = [
    async () => note(await api.post('/v1/transactions', { ...posting(), reference: 'plain' })),
    async () => note(await api.post('/v1/transactions', posting())),
    async () =>
      note(
        await api.post('/v1/transactions', {
          postings: [posting(), posting(), posting()],
          category: 'several',
          metadata: { step: below(9), isOdd: true },
        }),
      ),
    async () => {
      const postings = below(2) === 0 ? [posting()] : [posting(), posting()]
      const id = note(await api.post('/v1/transactions', { postings, pending: true }))
      if (id !== undefined) holds.push(id)
    },
    async () => {
      if (holds.length === 0) return
      const body = below(2) === 0 ? {} : { keepRest: true, description: 'a part' }
      note(await api.post(`/v1/transactions/${one(holds)}/post`, body))
    },
    async () => {
      if (holds.length > 0) note(await api.post(`/v1/transactions/${one(holds)}/void`, {}))
    },
    async () => note(await api.post(`/v1/transactions/${one(done.transactions)}/reverse`, {})),
    async () => {
      const effectiveDate = new Date(Date.now() + (below(9) - 4) * dayMs).toISOString().slice(0, 10)
      note(await api.post('/v1/transactions', { ...posting(), effectiveDate, imported: true }))
    },
    async () => {
      const limits = below(2) === 0 ? { overdraftLimit: `${500 + below(500)}` } : {}
      const metadata = { changed: below(100) }
      // Refused for a striped account, and for a limit that the balance is beyond already.
      await api.patch(`/v1/accounts/account:${below(12)}`, { ...limits, metadata })
    },
    async () => {
      const body = { transactions: [posting(), posting()], atomic: below(2) === 0 }
      const { json } = await api.post('/v1/transactions/batch', body)
      for (const { id, outcome } of json.data?.results ?? []) {
        if (outcome === 'accepted') done.transactions.push(id)
      }
    },
  ]
  for (let step = 0; step < steps; step++) await actions[below(actions.length)]()
  const last = await api.post('/v1/transactions', {
    ...{ debit: 'account:0', credit: 'account:4', amount: '0.01' },
  })
  note(last)
  return done
}
