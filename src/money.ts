/**
 * Money is a bigint of minor units, or a decimal string at the edge; never a JavaScript number.
 */

/** The largest amount and the largest counter: what fits into a signed 64-bit integer. */
export const amountMax = 2n ** 63n - 1n

/** Counters are lifetime turnover, so a currency has at most this many decimals (design §7). */
export const scaleMax = 8

/** An amount as it was written: `mantissa` × 10^-`decimals`, without trailing zeros. */
export interface Decimal {
  mantissa: bigint
  decimals: number
}

const decimalPattern = /^(\d{1,19})(?:\.(\d{1,8}))?$/

/**
 * Reads a decimal string such as `125.50` into its normal form (1255, 1).
 * Returns undefined for anything else: signs, exponents, blanks, more than 19 digits before or 8
 * after the point, or a value beyond 64 bits.
 */
export function parseDecimal(text: string): Decimal | undefined {
  const match = decimalPattern.exec(text)
  if (match === null) return undefined
  const fraction = match[2] === undefined ? '' : withoutTrailingZeros(match[2])
  const mantissa = BigInt(match[1] + fraction)
  if (mantissa > amountMax) return undefined
  return { mantissa, decimals: fraction.length }
}

/** The normal form of `units` × 10^-`scale`, equal to what {@link parseDecimal} makes of its text. */
export function normalise(units: bigint, scale: number): Decimal {
  let mantissa = units
  let decimals = scale
  while (decimals > 0 && mantissa % 10n === 0n) {
    mantissa /= 10n
    decimals -= 1
  }
  return { mantissa, decimals }
}

const powersOfTen = Array.from({ length: scaleMax + 1 }, (_, power) => 10n ** BigInt(power))

/**
 * Minor units of a decimal in a currency with `scale` decimals.
 * Returns undefined if the decimal has more decimals than that; the result may exceed
 * {@link amountMax}, which the caller checks.
 */
export function toMinor(value: Decimal, scale: number): bigint | undefined {
  if (value.decimals > scale) return undefined
  return value.decimals === scale
    ? value.mantissa
    : value.mantissa * powersOfTen[scale - value.decimals]
}

/** Writes minor units as a decimal string with exactly `scale` decimals. */
export function formatMinor(minor: bigint, scale: number): string {
  if (scale === 0) return minor.toString()
  const negative = minor < 0n
  const digits = (negative ? -minor : minor).toString().padStart(scale + 1, '0')
  const point = digits.length - scale
  return `${negative ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`
}

function withoutTrailingZeros(digits: string): string {
  let end = digits.length
  while (end > 0 && digits.charCodeAt(end - 1) === 48) end -= 1
  return digits.slice(0, end)
}
