import { AccountTable } from '../src/actors/accounts.js'
import { TransactionState, TransactionTable } from '../src/actors/transactions.js'
import type { AccountCreatedBody } from '../src/journal/record.js'
import type { Key } from '../src/key.js'
import { median } from './figures.js'

/** Bytes of memory for each row, with everything that a table keeps beside it. */
export interface MemoryFigures {
  rows: number
  /** At `rows` rows. */
  accountBytes: number
  idBytes: number
  /** The worst at any of the sizes on the way there, past the first half. */
  accountBytesWorst: number
  idBytesWorst: number
}

const ROWS = 1_000_000
const REPETITIONS = 3
/** The index doubles in steps, so that the share of a row depends on where one stops. */
const SAMPLES = 20

/**
 * The entry of a process of its own, started with --expose-gc: loads plain accounts, and apart from
 * them transaction ids, straight into the tables that the shard uses, and sends what they take.
 */
function main(): void {
  const accounts: Footprint[] = []
  const ids: Footprint[] = []
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    accounts.push(fillAccounts())
    ids.push(fillIds())
  }
  const figures: MemoryFigures = {
    rows: ROWS,
    accountBytes: median(accounts.map((footprint) => footprint.last)),
    idBytes: median(ids.map((footprint) => footprint.last)),
    accountBytesWorst: median(accounts.map((footprint) => footprint.worst)),
    idBytesWorst: median(ids.map((footprint) => footprint.worst)),
  }
  if (process.send) process.send(figures)
  else process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`)
}

interface Footprint {
  last: number
  worst: number
}

function fillAccounts(): Footprint {
  const table = new AccountTable([randomWord(), randomWord()], 1)
  const body: AccountCreatedBody = {
    currency: 'EUR',
    scale: 2,
    class: 'liability',
    overdraftLimit: 0n,
    minimumBalance: 0n,
  }
  const now = Date.now()
  return fill((row) => {
    table.create(1, randomKey(), body, { low: row, high: randomWord() }, now)
    return table
  })
}

function fillIds(): Footprint {
  const table = new TransactionTable([randomWord(), randomWord()])
  return fill((row) => {
    const fingerprint = { low: row, high: randomWord() }
    table.add(1, randomKey(), TransactionState.posted, fingerprint, { stream: 1, seq: row + 1 })
    return table
  })
}

/** `add` returns the table, so that it is alive whenever memory is measured. */
function fill(add: (row: number) => object): Footprint {
  const before = usedBytes()
  const footprint: Footprint = { last: 0, worst: 0 }
  const step = ROWS / 2 / SAMPLES
  for (let row = 0; row < ROWS; row++) {
    add(row)
    const rows = row + 1
    if (rows < ROWS / 2 || rows % step !== 0) continue
    footprint.last = (usedBytes() - before) / rows
    footprint.worst = Math.max(footprint.worst, footprint.last)
  }
  return footprint
}

function usedBytes(): number {
  if (!globalThis.gc) throw new Error('run with node --expose-gc')
  // Array buffers are freed by a second collection, after the first has found their owners dead.
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

function randomKey(): Key {
  return { w0: randomWord(), w1: randomWord(), w2: randomWord(), w3: randomWord() }
}

function randomWord(): number {
  return (Math.random() * 0x100000000) >>> 0
}

main()
