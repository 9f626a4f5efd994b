import type { FastifyRequest } from 'fastify'
import type { TSchema } from 'typebox'
import {
  HistoryFault,
  type HistoryPool,
  type HistoryQueries,
  type Positions,
} from '../history/history-pool.js'
import { type ApiParts, servingPartsOf } from './context.js'
import { isPlaceWithin, readCursor, writeCursor } from './cursor.js'
import { ApiError, invalidField } from './errors.js'
import { limitOf } from './history-schemas.js'
import { formatPosition } from './position.js'

/** What every list over the read models may be asked with. */
interface PageFields {
  limit?: string | number
  cursor?: string
  minPosition?: string
}

/** A page that is asked for: by a cursor, or by the fields of the request. */
export interface AskedPage<Query> {
  query: Query
  after: number[] | undefined
  limit: number
}

/** Time in milliseconds since 1970, stream, and seq of a record. */
export const recordPlaceMax = [Date.UTC(9999, 11, 31), 2 ** 31 - 1, Number.MAX_SAFE_INTEGER]

/** How a list is paged. */
export interface Paging {
  /** Of the list, with what is in its path: a cursor of one is of no use to another. */
  list: string
  /** Of the query, or of the body. */
  schema: TSchema
  /** Greatest values of the whole numbers that say where a row is. */
  placeMax: readonly number[]
}

/** Takes the page apart; a cursor carries all that was asked for, and stands alone. */
export function askedPage<Query extends PageFields>(
  request: FastifyRequest,
  asked: Query,
  { list, schema, placeMax }: Paging,
): AskedPage<Query> {
  const { cursor, limit, minPosition, ...filter } = asked
  if (cursor === undefined) return { query: asked, after: undefined, limit: limitOf(limit) }
  const [field] = Object.keys(filter)
  if (field !== undefined) {
    throw invalidField(field, 'is given beside a cursor, which carries what was asked for')
  }
  const content = readCursor(cursor, list, isPlaceWithin(placeMax))
  if (!request.compileValidationSchema(schema)(content.asked)) {
    throw invalidField('cursor', 'is not a cursor that this route has given')
  }
  const query = { ...(content.asked as Query), minPosition }
  return { query, after: content.place, limit: limitOf(limit ?? query.limit) }
}

/** The cursor after the last row of a full page; undefined if there are no more. */
export function nextCursor<Query extends PageFields>(
  { list }: Paging,
  { query, limit }: AskedPage<Query>,
  rows: readonly { place: number[] }[],
): string | undefined {
  if (rows.length <= limit) return undefined
  const { cursor: _, minPosition: __, ...asked } = query
  return writeCursor({ route: list, asked, place: rows[limit - 1].place })
}

/** Reads from the read models; turns what keeps them from answering into an answer. */
export async function readHistory<T>(
  parts: ApiParts,
  minPosition: string | Positions | undefined,
  read: (queries: HistoryQueries, pool: HistoryPool) => Promise<T>,
): Promise<T> {
  const history = historyOf(parts)
  try {
    const position = typeof minPosition === 'string' ? positionOf(minPosition) : minPosition
    return await history.read(position, (queries) => read(queries, history))
  } catch (error) {
    if (!(error instanceof HistoryFault)) throw error
    throw new ApiError(error.code === 'too_many_reads' ? 'overloaded' : error.code, error.message)
  }
}

export function listMeta({ followed }: HistoryQueries): { positions: string[] } {
  return { positions: [...followed].map(([stream, seq]) => formatPosition(stream, seq)) }
}

function historyOf(parts: ApiParts): HistoryPool {
  const { history } = servingPartsOf(parts)
  if (history === undefined) {
    throw new ApiError('history_unavailable', 'this server keeps no read models')
  }
  return history
}

function positionOf(text: string): { stream: number; seq: number } {
  const [stream, seq] = text.split('-').map(Number)
  return { stream, seq }
}
