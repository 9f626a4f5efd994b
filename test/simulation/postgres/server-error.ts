/** What the server answers instead of a result. */
export class ServerError extends Error {
  /** SQLSTATE. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** An error after which the server hangs up. */
export const terminated = () =>
  new ServerError('57P01', 'terminating connection due to administrator command')
