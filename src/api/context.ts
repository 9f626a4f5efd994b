import type { FastifyRequest } from 'fastify'
import type { RequestContext } from '../actors/command.js'
import type { Router } from '../actors/router.js'
import type { Clock } from '../clock.js'
import type { CurrencyList } from '../currency.js'
import type { FeedThread } from '../history/feed/feed-thread.js'
import type { HistoryPool } from '../history/history-pool.js'
import type { JournalReader } from '../journal/reader.js'
import { keyOf } from '../key.js'
import { ApiError } from './errors.js'
import type { WebhookAccess } from './webhook-access.js'

/** What the routes work with. */
export interface ApiParts {
  clock: Clock
  currencies: CurrencyList
  /** Who keeps the accounts, as statements say. */
  servicer: { name: string; bic?: string }
  /** The router and the journal once the node serves; undefined before. */
  serving(): ServingParts | undefined
}

export interface ServingParts {
  router: Router
  journal: JournalReader
  /** For those who listen to what happens. */
  feed: FeedThread
  /** The read models; undefined if this process keeps none. */
  history: HistoryPool | undefined
  /** Undefined if this process delivers none. */
  webhooks?: WebhookAccess | undefined
}

/** Until credentials exist there is one tenant and one principal. */
const defaultTenant = 1
const defaultPrincipal = 1

/** Tenant and principal come from the credential, never from the path. */
export function contextOf(request: FastifyRequest): RequestContext {
  const correlation = keyOf(0, request.id)
  if (correlation === undefined) throw new Error('a request has no usable correlation id')
  return { tenant: defaultTenant, principal: defaultPrincipal, correlation }
}

/** What is there to serve with, or the answer that the node is not ready. */
export function servingPartsOf(parts: ApiParts): ServingParts {
  const serving = parts.serving()
  if (serving === undefined) {
    throw new ApiError('not_ready', 'the server is starting or stopping; see /ready')
  }
  return serving
}
