import t from 'tap'
import { IdFilter, layerBytes } from '../../src/actors/id-filter.js'
import { slotCount } from '../../src/key.js'

const ids = 200_000
/** A v8 key: those of `slot` alone, or of all slots. */
const keyOf = (number: number, slot?: number): [number, number, number, number] => {
  const own = slot ?? number % slotCount
  const w3 = (number & 0xffff) | ((own >>> 8) << 16) | ((own & 0xff) << 24)
  return [Math.imul(number, 0x9e3779b1) >>> 0, 0x00800000, number >>> 16, w3 >>> 0]
}

t.test('it has all that was added, whether many slots or one, and little else', async (t) => {
  for (const slot of [undefined, 700]) {
    const filter = new IdFilter()
    for (let number = 0; number < ids; number++) filter.add(1, ...keyOf(number, slot))
    let missing = 0
    let mistaken = 0
    for (let number = 0; number < ids; number++) {
      if (!filter.mayHave(1, ...keyOf(number, slot))) missing += 1
      if (filter.mayHave(1, ...keyOf(number + ids, slot))) mistaken += 1
      if (filter.mayHave(2, ...keyOf(number, slot))) mistaken += 1
    }
    t.equal(missing, 0)
    t.equal(filter.count, ids)
    t.ok(mistaken / (2 * ids) < 0.007, `${mistaken} taken for others`)
    t.ok(filter.byteLength / ids < 6, `${filter.byteLength / ids} bytes an id`)
  }
})

t.test('its layers make the same filter', async (t) => {
  const filter = new IdFilter()
  for (let number = 0; number < 5000; number++) filter.add(3, ...keyOf(number, number % 3))
  const copy = new IdFilter()
  for (let slot = 0; slot < slotCount; slot++) {
    for (const layer of filter.layersOf(slot)) {
      t.equal(layer.bits.length, layerBytes(layer.capacity))
      copy.addLayer(slot, { ...layer, bits: Uint8Array.from(layer.bits) })
    }
  }
  t.equal(copy.count, 5000)
  t.equal(copy.byteLength, filter.byteLength)
  for (let number = 0; number < 6000; number++) {
    const key = keyOf(number, number % 3)
    if (copy.mayHave(3, ...key) !== filter.mayHave(3, ...key)) t.fail(`id ${number} differs`)
  }
})
