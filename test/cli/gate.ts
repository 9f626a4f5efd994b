import { setTimeout as sleep } from 'node:timers/promises'
import { migrate } from '../../src/journal/migrate.js'
import { withClient } from '../actors/book-database.js'

/** The lock that the triggers wait for. */
const gate = 4711

/** Makes the n-th statement that writes to a table wait for the gate. */
export async function stopAt(
  target: string,
  { table, on, at }: { table: string; on: 'insert' | 'update' | 'delete'; at: number },
): Promise<void> {
  await withClient(target, async (client) => {
    await migrate(client)
    await client.query(`
      create sequence public.statements;
      create function public.wait() returns trigger language plpgsql as $$
      begin
        if nextval('public.statements') = ${at} then
          perform pg_advisory_xact_lock(${gate});
        end if;
        return null;
      end $$;
      create trigger wait before ${on}
        on daybook.${table} for each statement execute function public.wait()`)
  })
}

/** Holds the gate shut until it is released. */
export async function holdGate(target: string): Promise<{ release(): Promise<void> }> {
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let done: Promise<void> = Promise.resolve()
  await new Promise<void>((resolve, reject) => {
    done = withClient(target, async (client) => {
      await client.query(`select pg_advisory_lock(${gate})`)
      resolve()
      await released
    })
    done.catch(reject)
  })
  return {
    release: () => {
      release()
      return done
    },
  }
}

export async function isWaiting(target: string): Promise<boolean> {
  return await withClient(target, async (client) => {
    const { rows } = await client.query(
      `select from pg_locks where locktype = 'advisory' and objid = ${gate} and not granted
         and database = (select oid from pg_database where datname = current_database())`,
    )
    return rows.length > 0
  })
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10)
}
