import { openSnapshotStore } from '../snapshots/open-store.js'
import type { SnapshotStore, SnapshotStoreConfig } from '../snapshots/store.js'
import { snapshotStoreConfig } from '../snapshots/store-config.js'
import { type CommandContext, UsageError } from './command.js'

const timeoutMs = 60_000

/** The store of the settings, for the book that is at `connectionString`. */
export function snapshotsAt(
  context: CommandContext,
  connectionString: string,
): SnapshotStoreConfig {
  const { snapshots } = context.config.process
  if (snapshots === undefined) throw new UsageError('DAYBOOK_SNAPSHOTS is off')
  return snapshotStoreConfig(snapshots, connectionString, timeoutMs)
}

/** Opens it until the command ends. */
export function openSnapshots(context: CommandContext, connectionString: string): SnapshotStore {
  const store = openSnapshotStore(snapshotsAt(context, connectionString))
  context.onEnd(() => store.close())
  return store
}
