import type { SnapshotSettings } from '../config.js'
import type { SnapshotStoreConfig } from './store.js'

/** The store that the settings name. In Postgres it is beside the journal. */
export function snapshotStoreConfig(
  { store }: SnapshotSettings,
  connectionString: string,
  timeoutMs: number,
): SnapshotStoreConfig {
  if (store.kind === 'postgres') return { kind: 'postgres', connectionString, timeoutMs }
  return store.kind === 's3' ? { ...store, timeoutMs } : store
}
