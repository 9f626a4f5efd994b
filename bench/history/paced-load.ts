import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { BenchBook } from './book.js'
import type { HistoryBench } from './options.js'
import type { PacedBatchesJob, PacedBatchesResult } from './paced-batches.js'

/** Posts batches at a fixed rate; the book expects what was acknowledged. */
export async function postPaced(
  { stopping, faults }: HistoryBench,
  book: BenchBook,
  of: { port: number; batchSize: number; perSecond: number; transfers: number },
): Promise<PacedBatchesResult> {
  const { port, batchSize, perSecond, transfers } = of
  const job: PacedBatchesJob = {
    ...{ port, batchSize, accounts: book.accounts },
    batchesPerSecond: perSecond / batchSize,
    batches: Math.ceil(transfers / batchSize),
  }
  const generator = new Worker(new URL('./paced-batches.js', import.meta.url), { workerData: job })
  try {
    const [result] = (await once(generator, 'message', { signal: stopping })) as [
      PacedBatchesResult,
    ]
    book.acknowledge(result)
    if (result.failed > 0) {
      faults.push(`${result.failed} of ${transfers} postings at ${perSecond}/s failed`)
    }
    return result
  } finally {
    await generator.terminate()
  }
}
