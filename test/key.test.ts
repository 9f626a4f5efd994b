import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { v4, v5, v7, version } from 'uuid'
import {
  equalKeys,
  formatKey,
  isUuid,
  type Key,
  keyFromBytes,
  keyFromWords,
  keyOf,
  keyOfBatchItem,
  keyOfFollowUp,
  keyToBytes,
  newKey,
  newKeyText,
  slotCount,
  slotOf,
  timeOfKey,
  withSlot,
  writeKeyWords,
} from '../src/key.js'

const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 })
const key = bytes.map((bytes) => keyFromBytes(bytes, 0))
const uuid = bytes.map((bytes) => textOf(Buffer.from(bytes)))
const name = fc
  .string({
    unit: fc.constantFrom(...'ABCXYZabcxyz0189._:-'),
    minLength: 1,
    maxLength: 64,
  })
  .filter((name) => !isUuid(name))
const tenant = fc.integer({ min: 0, max: 0xffffffff })

t.test('a key is its UUID: text, bytes and words go round', async (t) => {
  fc.assert(
    fc.property(bytes, (bytes) => {
      const key = keyFromBytes(bytes, 0)
      const words = new Uint32Array(6)
      writeKeyWords(words, 1, key)
      return (
        keyToBytes(key).equals(Buffer.from(bytes)) &&
        formatKey(key) === textOf(Buffer.from(bytes)) &&
        equalKeys(keyFromWords(words, 1), key) &&
        words[0] === 0 &&
        words[5] === 0 &&
        Buffer.from(words.buffer, 4, 16).equals(Buffer.from(bytes))
      )
    }),
  )
  fc.assert(
    fc.property(uuid, tenant, (uuid, tenant) => {
      const key = keyOf(tenant, uuid)
      return (
        key !== undefined &&
        formatKey(key) === uuid &&
        equalKeys(key, keyOf(0, uuid.toUpperCase()) as Key)
      )
    }),
  )
  t.pass()
})

t.test('keys differ if any bit differs', async (t) => {
  fc.assert(
    fc.property(bytes, fc.nat(127), (bytes, bit) => {
      const other = Uint8Array.from(bytes)
      other[bit >> 3] ^= 1 << (bit & 7)
      return !equalKeys(keyFromBytes(bytes, 0), keyFromBytes(other, 0))
    }),
  )
  t.pass()
})

t.test('a name becomes the v8 UUID of SHA-256 over tenant and name, never a v7', async (t) => {
  fc.assert(
    fc.property(tenant, name, (tenant, name) => {
      const text = formatKey(keyOf(tenant, name) as Key)
      const digest = createHash('sha256').update(`daybook\0${tenant}\0${name}`).digest()
      digest[6] = 0x80 | (digest[6] & 0x0f)
      digest[8] = 0x80 | (digest[8] & 0x3f)
      return text === textOf(digest.subarray(0, 16)) && version(text) === 8
    }),
  )
  fc.assert(
    fc.property(tenant, key, key, fc.nat(9000), (tenant, target, id, index) => {
      const followUp = keyOfFollowUp(tenant, target, id)
      const item = keyOfBatchItem(tenant, target, index)
      return [followUp, item].every((made) => version(formatKey(made)) === 8)
    }),
  )
  t.pass()
})

t.test('names of different tenants, and derived keys, do not meet', async (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(tenant, { minLength: 2, maxLength: 5 }),
      name,
      key,
      key,
      (tenants, name, a, b) => {
        const texts = tenants.flatMap((tenant) => [
          formatKey(keyOf(tenant, name) as Key),
          formatKey(keyOfFollowUp(tenant, a, b)),
          formatKey(keyOfBatchItem(tenant, a, 0)),
          formatKey(keyOfBatchItem(tenant, a, 1)),
        ])
        return new Set(texts).size === texts.length
      },
    ),
  )
  t.pass()
})

t.test('other text is no key', async (t) => {
  for (const bad of ['', 'a b', 'ä', 'a/b', 'a\n', 'x'.repeat(65), '\0', 'a,b', '"']) {
    t.equal(keyOf(1, bad), undefined, JSON.stringify(bad))
  }
  t.not(keyOf(1, 'x'.repeat(64)), undefined)
})

t.test('the slot is the low ten bits of a v4, v7 or v8 key, and can be chosen', async (t) => {
  const made = fc.oneof(
    fc.nat().map(() => v4()),
    fc.nat().map(() => v7()),
    name.map((name) => formatKey(keyOf(1, name) as Key)),
  )
  fc.assert(
    fc.property(made, fc.nat(slotCount - 1), (text, slot) => {
      const key = keyOf(1, text) as Key
      const low = Number(BigInt(`0x${text.replaceAll('-', '')}`) & 1023n)
      const moved = withSlot(key, slot)
      return (
        slotOf(key) === low &&
        slotOf(moved) === slot &&
        formatKey(moved).slice(0, 33) === text.slice(0, 33) &&
        equalKeys(withSlot(moved, low), key)
      )
    }),
  )
  fc.assert(
    fc.property(key, tenant, key, (target, tenant, id) => {
      const followUp = keyOfFollowUp(tenant, target, id)
      return slotOf(followUp) === slotOf(target)
    }),
  )
  t.pass()
})

t.test('keys of other versions are spread over the slots', async (t) => {
  const counts = new Map<number, number>()
  for (let index = 0; index < 20_000; index++) {
    // Like a v1 of one machine: the low 48 bits never change.
    const text = `${index.toString(16).padStart(8, '0')}-9dad-11d1-80b4-00c04fd430c8`
    const slot = slotOf(keyOf(1, text) as Key)
    t.ok(slot >= 0 && slot < slotCount) || t.bailout()
    counts.set(slot, (counts.get(slot) ?? 0) + 1)
  }
  t.ok(counts.size > 1000, `${counts.size} slots`)
  t.ok(Math.max(...counts.values()) < 60)
  const v5Slot = slotOf(keyOf(1, v5('a name', v5.DNS)) as Key)
  t.equal(slotOf(keyOf(9, v5('a name', v5.DNS)) as Key), v5Slot)
})

t.test('new keys are v7, carry the slot asked for, and say when they were made', async (t) => {
  const before = Date.now()
  const keys = Array.from({ length: 3000 }, (_, index) => newKey(index % slotCount))
  for (const [index, key] of keys.entries()) {
    if (version(formatKey(key)) !== 7) t.fail('not a v7')
    if (slotOf(key) !== index % slotCount) t.fail('another slot')
    const time = timeOfKey(key.w0, key.w1) ?? 0
    if (time < before || time > Date.now()) t.fail(`made at ${time}`)
  }
  const texts = [...keys, ...Array.from({ length: 3000 }, () => newKey())].map(formatKey)
  texts.push(...Array.from({ length: 3000 }, () => newKeyText()))
  t.equal(new Set(texts).size, texts.length)
  fc.assert(
    fc.property(uuid, fc.nat(2 ** 40), (text, ms) => {
      const key = keyOf(1, text) as Key
      const timed = keyOf(1, v7({ msecs: ms })) as Key
      const isV7 = text[14] === '7'
      return (
        timeOfKey(timed.w0, timed.w1) === ms && (timeOfKey(key.w0, key.w1) !== undefined) === isV7
      )
    }),
  )
})

function textOf(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
