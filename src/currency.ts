/**
 * Currencies and their scales (number of decimals). ISO 4217 is built in; more come from the
 * configuration. A scale is written into each account's record and is fixed from then on.
 */
export interface Currency {
  /** 1 to 8 characters A-Z and 0-9. */
  code: string
  /** Decimals, 0 to 8. */
  scale: number
}

/** ISO 4217 codes (list one, active) by number of decimals. Source: SIX, ISO 4217 maintenance agency. */
const isoCodesByScale: Record<number, string> = {
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF',
  2:
    'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD ' +
    'CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL ' +
    'GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP ' +
    'LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR ' +
    'NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN ' +
    'SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ' +
    'ZAR ZMW ZWG',
  3: 'BHD IQD JOD KWD LYD OMR TND',
  4: 'CLF UYW',
}

export const currencyCodePattern = '^[A-Z0-9]{1,8}$'

/** All currencies that accounts can be opened in: ISO 4217, and `extra`, which wins. */
export class CurrencyList {
  readonly #scales = new Map<string, number>()

  constructor(extra: readonly Currency[]) {
    for (const [scale, codes] of Object.entries(isoCodesByScale)) {
      for (const code of codes.split(' ')) this.#scales.set(code, Number(scale))
    }
    for (const currency of extra) this.#scales.set(currency.code, currency.scale)
  }

  /** Decimals of `code`, or undefined if the currency is not known. */
  scaleOf(code: string): number | undefined {
    return this.#scales.get(code)
  }
}
