import { readFile } from 'node:fs/promises'
import type { Queries } from '../../journal/database.js'

const webhookVersion = 1

/** Of the advisory lock: under 0 who delivers, one process at a time; under 1 who makes the schema. */
const lockClass = 4849335

/** Whether this session delivers from now on; it does until its connection ends. */
export async function tryDeliveryLock(connection: Queries): Promise<boolean> {
  const { rows } = await connection.query<{ locked: boolean }>(
    `select pg_try_advisory_lock(${lockClass}, 0) as locked`,
  )
  return rows[0].locked
}

/**
 * Makes the schema if it is not there. The API and the thread that delivers may both come first.
 * Rejects with {@link NewerWebhooksError} if a newer program has made it.
 */
export async function ensureWebhookSchema(connection: Queries): Promise<void> {
  if (await isThere(connection)) return
  const schema = await readFile(new URL('./schema.sql', import.meta.url), 'utf8')
  await connection.query('begin')
  try {
    await connection.query(`select pg_advisory_xact_lock(${lockClass}, 1)`)
    if (!(await isThere(connection))) {
      await connection.query(
        `${schema}; insert into daybook_webhooks.about (version) values (${webhookVersion})`,
      )
    }
    await connection.query('commit')
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

async function isThere(connection: Queries): Promise<boolean> {
  const { rows: found } = await connection.query<{ there: boolean }>(
    `select to_regclass('daybook_webhooks.about') is not null as there`,
  )
  if (!found[0].there) return false
  const { rows } = await connection.query<{ version: number }>(
    'select version from daybook_webhooks.about',
  )
  if (rows[0]?.version === webhookVersion) return true
  throw new NewerWebhooksError(rows[0]?.version)
}

class NewerWebhooksError extends Error {
  readonly code = 'newer_version'

  constructor(version: number | undefined) {
    super(`the webhooks are of version ${version}; this program knows ${webhookVersion}`)
  }
}
