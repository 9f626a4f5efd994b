import { movement } from './bad-rows.js'
import { type ApiServer, openAccounts } from './server.js'

/** Opens the accounts; the function that it gives posts a cent and tells what it finds. */
export async function watch(api: ApiServer): Promise<() => Promise<string>> {
  await openAccounts(api)
  let cents = 0
  return async () => {
    const health = await api.get('/health')
    if (health.status !== 200) return `health ${health.status}`
    const posted = await api.post('/v1/transactions', { ...movement, amount: '0.01' })
    if (posted.status !== 201) return `posting ${posted.status}`
    cents += 1
    const expected = (cents / 100).toFixed(2)
    for (const balance of posted.json.data.balances) {
      const changed = balance.version !== cents + 1 || balance.balance !== expected
      if (changed || balance.debitsPending !== '0.00' || balance.creditsPending !== '0.00') {
        return `${balance.balance} of ${expected}`
      }
    }
    return 'goes on'
  }
}
