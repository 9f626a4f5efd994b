import { formatKey, type Key, keyOf, keyOfFollowUp } from '../../src/key.js'

/** The only tenant. */
export const tenant = 1

/** The model has names where shards have keys. */
export class EngineNames {
  readonly #names = new Map<string, string>()

  keyOf(text: string): Key {
    const key = keyOfName(text)
    this.#names.set(formatKey(key), text)
    return key
  }

  /** `text` is a transaction's id, or `target/id` of what follows it. */
  targetKey(text: string): Key {
    const [target, ...rest] = text.split('/')
    return rest.reduce((key, id) => keyOfFollowUp(tenant, key, keyOfName(id)), this.keyOf(target))
  }

  nameOf(key: Key): string {
    return this.ofText(formatKey(key))
  }

  ofText(key: string): string {
    return this.#names.get(key) ?? key
  }
}

export function keyOfName(text: string): Key {
  const key = keyOf(tenant, text)
  if (key === undefined) throw new Error(`no key: ${text}`)
  return key
}
