import { buildServer } from '../../src/api/server.js'
import { CurrencyList } from '../../src/currency.js'
import { FeedThread } from '../../src/history/feed/feed-thread.js'
import type { JournalReader } from '../../src/journal/reader.js'
import { serverMetrics } from '../../src/metrics.js'
import { notStarted } from '../../src/start-progress.js'
import type { ScriptedShards } from '../actors/scripted-shards.js'
import type { Teardown } from '../postgres.js'
import type { Json } from './server.js'

export interface ScriptedAnswer {
  status: number
  json: Json
  headers: Record<string, unknown>
}

export interface ScriptedApi {
  call(
    method: 'GET' | 'POST' | 'PATCH',
    path: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<ScriptedAnswer>
}

/** The API before shards, and a journal, that the test plays. */
export async function scriptedApi(
  t: Teardown,
  shards: ScriptedShards,
  readRecord: JournalReader['readRecord'] = () => Promise.reject(new Error('there is no journal')),
): Promise<ScriptedApi> {
  const status = { phase: 'serving', ...notStarted } as const
  const journal = { readRecord, close: async () => undefined }
  const feed = new FeedThread(
    { connectionString: '', timeoutMs: 1, digestKey: undefined, archiveDirectory: undefined },
    {
      ...{ clock: shards.clock, listenersMax: 0, heartbeatMs: 1, stallMs: 1, beginTimeoutMs: 1 },
      ...{ onTrouble: () => undefined, onEnd: () => undefined },
    },
  )
  const app = await buildServer(
    {
      clock: shards.clock,
      currencies: new CurrencyList([]),
      servicer: { name: 'Daybook' },
      serving: () => ({ router: shards.router, journal, history: undefined, feed }),
    },
    {
      status: () => status,
      shardMetrics: async () => [],
      digestOf: async () => undefined,
      metrics: serverMetrics({ router: () => undefined }),
    },
    {
      logger: undefined,
      logRequests: false,
      logSlowMs: 1000,
      logSample: 0,
      bodyTimeoutMs: 1000,
    },
  )
  t.teardown(() => app.close())
  return {
    async call(method, url, payload, headers = {}) {
      const answer = await app.inject({ method, url, ...(payload && { payload }), headers })
      return { status: answer.statusCode, json: answer.json(), headers: answer.headers }
    },
  }
}
