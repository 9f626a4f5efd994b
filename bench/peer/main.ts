import { Pool } from 'pg'
import { buildPeer } from './server.js'

/**
 * The peer's process. DATABASE_URL names a database that holds the schema already, PEER_POOL the
 * connections of the pool. Prints its address when it serves; stops on SIGTERM.
 */
async function main(): Promise<void> {
  const size = Number(process.env.PEER_POOL ?? 8)
  const pool = new Pool({
    connectionString: process.env.DATABASE_URL,
    max: size,
    min: size,
    idleTimeoutMillis: 0,
  })
  const warm = await Promise.all(Array.from({ length: size }, () => pool.connect()))
  for (const client of warm) client.release()

  const server = buildPeer(pool)
  const address = await server.listen({ host: '127.0.0.1', port: 0 })
  process.stdout.write(`Peer serves on ${address}\n`)
  process.once('SIGTERM', () => {
    server
      .close()
      .then(() => pool.end())
      .then(() => process.exit(0))
  })
}

await main()
