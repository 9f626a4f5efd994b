import { Decimal } from 'decimal.js'
import fc from 'fast-check'
import t from 'tap'
import { amountMax, formatMinor, normalise, parseDecimal, scaleMax, toMinor } from '../src/money.js'

Decimal.set({ precision: 60, toExpNeg: -60, toExpPos: 60 })

const scale = fc.integer({ min: 0, max: scaleMax })
const minor = fc.oneof(
  fc.bigInt({ min: 0n, max: amountMax }),
  fc.bigInt({ min: 0n, max: 10_000n }),
  fc.constantFrom(0n, 1n, amountMax, amountMax - 1n),
)
const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: 21 })
const fraction = fc.string({ unit: fc.constantFrom(...'00123456789'), minLength: 1, maxLength: 10 })
const text = fc
  .tuple(digits, fc.option(fraction))
  .map(([whole, rest]) => (rest === null ? whole : `${whole}.${rest}`))

t.test('minor units are written as decimal.js would, and read back', async (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: -amountMax, max: amountMax }), scale, (units, scale) => {
      const expected = new Decimal(units.toString()).div(new Decimal(10).pow(scale)).toFixed(scale)
      return formatMinor(units, scale) === expected
    }),
  )
  fc.assert(
    fc.property(minor, scale, (units, scale) => {
      const decimal = parseDecimal(formatMinor(units, scale))
      return decimal !== undefined && toMinor(decimal, scale) === units
    }),
  )
  t.pass()
})

t.test('a decimal string means what decimal.js says that it means', async (t) => {
  fc.assert(
    fc.property(text, scale, (text, scale) => {
      const [whole, rest = ''] = text.split('.')
      const value = new Decimal(text)
      const decimals = value.decimalPlaces()
      const mantissa = BigInt(value.mul(new Decimal(10).pow(decimals)).toFixed(0))
      const fits = whole.length <= 19 && rest.length <= 8 && mantissa <= amountMax
      const read = parseDecimal(text)
      if (!fits) return read === undefined
      if (read?.mantissa !== mantissa || read.decimals !== decimals) return false
      const units = toMinor(read, scale)
      if (decimals > scale) return units === undefined
      return units === BigInt(value.mul(new Decimal(10).pow(scale)).toFixed(0))
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

t.test('minor units in normal form are what their text would be read as', async (t) => {
  fc.assert(
    fc.property(minor, scale, (units, scale) => {
      const read = parseDecimal(formatMinor(units, scale))
      const { mantissa, decimals } = normalise(units, scale)
      return read?.mantissa === mantissa && read.decimals === decimals
    }),
  )
  t.pass()
})

t.test('anything that is no plain decimal is not read', async (t) => {
  for (const bad of [
    ...['', '.', '1.', '.5', '-1', '+1', '1e3', '1E3', '0x10', ' 1', '1 ', '1,5', '1_000', '１'],
    ...[
      '1.123456789',
      '12345678901234567890',
      '9223372036854775808',
      '92233720368547758.08',
      '1.2.3',
    ],
    ...['NaN', 'Infinity', '1\n', '\u0000', '٣'],
  ]) {
    t.equal(parseDecimal(bad), undefined, JSON.stringify(bad))
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 12 }), (text) => {
      return (parseDecimal(text) !== undefined) === /^[0-9]+(\.[0-9]{1,8})?$/.test(text)
    }),
    { numRuns: 2000 },
  )
})
