import { Gauge, type Registry } from 'prom-client'
import type { WebhookGauges } from './history/webhooks/dispatcher.js'

/** Gauges over the delivery of webhooks; 0 while this process delivers none. */
export function watchWebhooks(register: Registry, webhooks: () => WebhookGauges | undefined): void {
  const registers = [register]
  new Gauge({
    name: 'daybook_webhook_receivers',
    help: 'Webhooks by state',
    labelNames: ['state'],
    registers,
    collect() {
      const gauges = webhooks()
      for (const state of ['active', 'paused', 'disabled'] as const) {
        this.set({ state }, gauges?.[state] ?? 0)
      }
    },
  })
  const gauges: [name: string, help: string, read: (of: WebhookGauges) => number][] = [
    ['delivered', 'Events that webhooks have taken since the start', (of) => of.delivered],
    [
      'failed_attempts',
      'Requests to webhooks since the start that were not answered with 2xx',
      (of) => of.failedAttempts,
    ],
    ['dead_letters', 'Events that webhooks did not take, and wait', (of) => of.deadLetters],
    ['breakers_open', 'Webhooks that are taken to be away', (of) => of.open],
    ['lag_records', 'Records that active webhooks do not have yet, added up', (of) => of.lag],
  ]
  for (const [name, help, read] of gauges) {
    new Gauge({
      name: `daybook_webhook_${name}`,
      help,
      registers,
      collect() {
        const values = webhooks()
        this.set(values === undefined ? 0 : read(values))
      },
    })
  }
}
