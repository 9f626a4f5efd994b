/**
 * Decimal text to minor units and back, for a currency of two decimals. The example does not use
 * Daybook's own code for this: it checks Daybook, and speaks to it over HTTP only.
 */

/** `"-125.5"` becomes `-12550n`. Throws on anything that is not a decimal of at most two places. */
export function toMinor(decimal: string): bigint {
  const parts = /^(-?)(\d+)(?:\.(\d{1,2}))?$/.exec(decimal)
  if (parts === null) throw new Error(`"${decimal}" is not an amount with two decimals`)
  const [, sign, whole, fraction = ''] = parts
  const minor = BigInt(whole + fraction.padEnd(2, '0'))
  return sign === '-' ? -minor : minor
}

/** `-12550n` becomes `"-125.50"`. */
export function toDecimal(minor: bigint): string {
  const digits = (minor < 0n ? -minor : minor).toString().padStart(3, '0')
  return `${minor < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`
}

/** `1234567n` becomes `"12,345.67"`, for people. */
export function toReadable(minor: bigint): string {
  return toDecimal(minor).replace(/\B(?=(\d{3})+\.)/g, ',')
}
