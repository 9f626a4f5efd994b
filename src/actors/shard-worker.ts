import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../clock.js'
import { HistoryFinder } from '../history/find-transactions.js'
import { archivedStore } from '../journal/archived-store.js'
import { digestChain } from '../journal/digest.js'
import { impatientDatabase } from '../journal/impatient-database.js'
import { postgresDatabase } from '../journal/postgres.js'
import { postgresStore } from '../journal/postgres-session.js'
import { shardMetrics } from '../metrics.js'
import { SnapshotFault } from '../snapshots/manifest.js'
import { openSnapshotStore } from '../snapshots/open-store.js'
import { Shard } from './shard.js'
import type { FromShard, ShardWorkerData, ToShard } from './shard-protocol.js'

/** Entry of a shard's thread: wires a {@link Shard} to its port. */
if (parentPort === null) throw new Error('this file runs as a worker thread')
const port = parentPort
const { options, connectionString, digestKey, archiveDirectory, snapshots } =
  workerData as ShardWorkerData

const tell = (message: FromShard) => port.postMessage(message)
const fail = (fault: Error & { code?: string }) =>
  tell({ type: 'fault', code: fault.code ?? 'internal_error', message: fault.message })

const metrics = shardMetrics(options.plan.place.shard)
/** Channels to the other shards, by number. */
const peers: (MessagePort | undefined)[] = []

const database = impatientDatabase(
  postgresDatabase(connectionString, options.commitTimeoutMs),
  systemClock,
)
const snapshotStore = snapshots === undefined ? undefined : openSnapshotStore(snapshots)

const finder = new HistoryFinder(
  impatientDatabase(
    postgresDatabase(connectionString, options.admissionTimeoutMs),
    systemClock,
    options.admissionTimeoutMs,
  ),
)

const shard = new Shard(options, {
  clock: systemClock,
  store: archivedStore(postgresStore(database), database, archiveDirectory),
  ...(snapshotStore === undefined ? {} : { snapshots: snapshotStore }),
  findTransactions: finder.find,
  random: Math.random,
  chain: digestChain(digestKey === undefined ? undefined : Buffer.from(digestKey)),
  send: (frame) => port.postMessage(frame, [frame]),
  sendToPeer(to, frame) {
    const peer = peers[to]
    if (peer === undefined) throw new Error(`there is no channel to shard ${to}`)
    peer.postMessage(frame, [frame])
  },
  onStopped: fail,
  onProgress: (progress) => tell({ type: 'progress', progress }),
  onTrouble: (error) => tell({ type: 'trouble', message: error.message }),
  observer: metrics.observer,
})

port.on('message', (message: ToShard) => {
  if (message instanceof ArrayBuffer) shard.receive(message)
  else void control(message).catch(fail)
})

async function control(message: Exclude<ToShard, ArrayBuffer>): Promise<void> {
  switch (message.type) {
    case 'warmUp':
      return tell({ type: 'warm', ...(await warmUp()) })
    case 'readRest':
      return tell({ type: 'restRead', counts: await shard.readRest() })
    case 'serve':
      await shard.serve(message.generation)
      return tell({ type: 'serving' })
    case 'peer':
      peers[message.shard] = message.port
      message.port.on('message', (frame: ArrayBuffer) => shard.receiveFromPeer(frame))
      return
    case 'drain':
      await shard.drain()
      return tell({ type: 'drained' })
    case 'metrics':
      return tell({
        type: 'metrics',
        id: message.id,
        metrics: await metrics.collect(shard.gauges),
      })
    case 'digest':
      return tell({ type: 'digest', id: message.id, digest: await shard.digestOf(message.slot) })
    case 'projected':
      shard.projected(message.positions)
      return
    case 'position':
      return tell({ type: 'position', id: message.id, seq: shard.gauges.durableSeq })
    case 'stop':
      shard.stop()
      for (const peer of peers) peer?.close()
      finder.close()
      tell({ type: 'stopped' })
      return port.close()
  }
}

/** A snapshot that cannot be used is no fault of the shard: it is discarded, and another one starts. */
async function warmUp(): Promise<{ refused?: string }> {
  try {
    await shard.warmUp()
    return {}
  } catch (error) {
    if (error instanceof SnapshotFault && error.code === 'damaged_snapshot') {
      return { refused: error.message }
    }
    throw error
  } finally {
    await snapshotStore?.close()
  }
}
