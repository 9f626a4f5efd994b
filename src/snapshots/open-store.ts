import type { SnapshotStore, SnapshotStoreConfig } from './store.js'

/** To be replaced by the branch with the stores. */
export function openSnapshotStore(config: SnapshotStoreConfig): SnapshotStore {
  throw new Error(`no store of kind ${config.kind} yet`)
}
