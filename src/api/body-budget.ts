import type { FastifyRequest } from 'fastify'
import { ApiError } from './errors.js'

/** Bytes of bodies that may be in memory at one time, by what their requests announce. */
const bodiesBytesMax = 256 * 1024 * 1024
/** Smaller bodies are bounded by the number of connections and not counted. */
const countedBytesMin = 16 * 1024

/** Refuses large bodies before they are read when too many of them are already under way. */
export class BodyBudget {
  /** Bytes that are counted now. */
  bytes = 0
  readonly #counted = new WeakMap<FastifyRequest, number>()

  enter(request: FastifyRequest): void {
    const announced = request.headers['content-length']
    const chunked = announced === undefined && request.headers['transfer-encoding'] !== undefined
    // A body of unknown length may become as long as its route allows.
    const bytes = chunked ? (request.routeOptions.bodyLimit ?? 0) : Number(announced ?? 0)
    if (bytes < countedBytesMin) return
    if (this.bytes > 0 && this.bytes + bytes > bodiesBytesMax) {
      throw new ApiError('overloaded', 'too many large bodies are under way; nothing was accepted')
    }
    this.bytes += bytes
    this.#counted.set(request, bytes)
  }

  leave(request: FastifyRequest): void {
    this.bytes -= this.#counted.get(request) ?? 0
    this.#counted.delete(request)
  }
}
