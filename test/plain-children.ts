/**
 * Lets the processes that a test starts run as they run without tap. It would have each of them
 * import a module loader, for coverage, which we have off: a thread more for the process and for
 * each of its worker threads, and three seconds of work for every start of a server of four shards.
 *
 * Imported for this alone. If tap does it another way one day, tests are slow again, and pass.
 */
const onSpawn = Reflect.get(globalThis, Symbol.for('process-on-spawn@*:singletonId')) as
  | { listeners: unknown[] }
  | undefined
if (onSpawn !== undefined) onSpawn.listeners = []

const options = process.env.NODE_OPTIONS?.split(' ').filter((word) => !word.includes('@tapjs/'))
if (options !== undefined) process.env.NODE_OPTIONS = options.join(' ')

export {}
