import { directorySnapshotStore } from './directory-store.js'
import { postgresSnapshotStore } from './postgres-store.js'
import { s3SnapshotStore } from './s3-store.js'
import type { SnapshotStore, SnapshotStoreConfig } from './store.js'

/** The store that `config` names. Nothing is asked of it yet: what cannot be reached shows at its use. */
export function openSnapshotStore(config: SnapshotStoreConfig): SnapshotStore {
  switch (config.kind) {
    case 'postgres':
      return postgresSnapshotStore(config)
    case 'directory':
      return directorySnapshotStore(config)
    case 's3':
      return s3SnapshotStore(config)
  }
}
