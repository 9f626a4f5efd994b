import closeWithGrace from 'close-with-grace'
import { pino } from 'pino'
import { buildServer } from './api/server.js'
import { ConfigError, readConfig } from './config.js'
import { CurrencyList } from './currency.js'
import { serverMetrics } from './metrics.js'
import { DaybookNode } from './node.js'

/** Exit codes: 0 stopped in order, 3 taken over by another process, 1 anything else. */
const exitTakenOver = 3
const exitFailed = 1
/** What stopping may take beyond the time that requests have. */
const graceMs = 10_000

await main().catch((error: Error & { code?: string }) => {
  const message = error instanceof ConfigError ? error.message : (error.stack ?? error.message)
  process.stderr.write(`Daybook did not start: ${message}\n`)
  process.exit(exitFailed)
})

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const log = pino({ level: config.process.logLevel }, pino.destination(2))
  const node = new DaybookNode(config, log, (fault) => {
    log.fatal({ code: fault.code }, fault.message)
    // Nothing may be answered any more: connections are cut, not closed.
    if (fault.code === 'fenced') process.exit(exitTakenOver)
    app.server.closeAllConnections()
    setTimeout(() => process.exit(exitFailed), graceMs).unref()
    void node.stop().finally(() => process.exit(exitFailed))
  })
  const app = await buildServer(
    {
      clock: node.clock,
      currencies: new CurrencyList(config.book.extraCurrencies),
      servicer: config.process.servicer,
      serving: () => node.serving,
    },
    {
      status: () => node.status,
      digestOf: (stream, slot) => node.digestOf(stream, slot),
      shardMetrics: () => node.shardMetrics(),
      metrics: serverMetrics({
        router: () => node.serving?.router,
        status: () => node.status,
        snapshots: () => node.snapshotGauges,
        history: () => node.historyProgress,
        feed: () => node.feedGauges,
        redis: () => node.redisGauges,
        webhooks: () => node.webhookGauges,
      }),
    },
    {
      logger: log,
      logRequests: config.process.logRequests,
      logSlowMs: config.process.logSlowMs,
      logSample: config.process.logSample,
      bodyTimeoutMs: config.process.bodyTimeoutMs,
    },
  )

  const { bodyTimeoutMs, requestTimeoutMs } = config.process
  const delay = bodyTimeoutMs + requestTimeoutMs + graceMs
  closeWithGrace({ delay, logger: log }, async ({ err }) => {
    if (err !== undefined) log.fatal({ err }, 'stopping after an error that nobody handled')
    await app.close()
    await node.stop()
  })

  // The port is taken before anything else: a second start in one place fails before it takes over.
  const address = await app.listen({ host: config.process.host, port: config.process.port })
  try {
    await node.start()
  } catch (error) {
    await node.stop()
    throw error
  }
  process.stdout.write(`Daybook serves on ${address}\n${greeting(address)}`)
}

/** What a newcomer can paste: two accounts, and a first posting that answers 201 with balances. */
function greeting(address: string): string {
  const post = (path: string, body: object) =>
    `curl -si ${address}${path} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`
  return `
Open two accounts and post between them (a page to try the rest: ${address}/docs):

${post('/v1/accounts', { id: 'cash:till-1', currency: 'EUR', class: 'asset' })}
${post('/v1/accounts', { id: 'customer:ada', currency: 'EUR', class: 'liability' })}
${post('/v1/transactions', { debit: 'cash:till-1', credit: 'customer:ada', amount: '125.50' })}

`
}
