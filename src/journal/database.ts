/**
 * Postgres as the journal uses it: a port, so that a simulation can stand in for the server. The
 * real one is postgres.ts. Everything that has to be right about SQL, locks and the order of
 * statements stands on this side of it.
 */
export interface Database {
  /**
   * Opens a connection and lets `prepare` begin with it; both together within the time that a
   * connection may take. Rejects if the server cannot be reached, or with what `prepare` rejects.
   */
  connect(options: ConnectOptions): Promise<DatabaseConnection>
}

export interface ConnectOptions {
  /** What an operator sees in pg_stat_activity. */
  name: string
  prepare?: (connection: DatabaseConnection) => Promise<void>
}

export interface Queries {
  /**
   * Runs statements; of several in one text the last one answers. One with a `name` is parsed once
   * per connection. An error of the server has its SQLSTATE as `code`.
   */
  query<Row = unknown>(text: string, values?: unknown[], name?: string): Promise<Result<Row>>
}

export interface Result<Row> {
  rows: Row[]
  rowCount: number | null
  /** The tag of the last statement, such as COMMIT. */
  command: string
}

export interface DatabaseConnection extends Queries {
  /**
   * Sends a simple query with one COPY FROM STDIN in it, together with the rows of that COPY, in
   * one write. Resolves with the tags of its statements.
   */
  copyIn(text: string, rows: Buffer): Promise<string[]>
  /** The rows of a binary COPY TO STDOUT, each as its fields' bytes. */
  copyOut(text: string): AsyncIterable<Buffer[]>
  /** Calls `listener` with the SQLSTATE of each notice. */
  onNotice(listener: (code: string | undefined) => void): void
  /** Ends the connection at once, whatever is under way. */
  close(): void
  /** Ends the connection when the server has taken leave. */
  end(): Promise<void>
}
