import { type LookupAddress, type LookupAllOptions, lookup as systemLookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

/**
 * Which addresses a receiver may have. Whoever may name a URL must not make the server talk to what
 * only the server reaches: itself, its network, the metadata of its cloud. Names are judged when a
 * connection is made, by the addresses that it would go to, so that a name that changes its mind
 * after it was checked gains nothing.
 */
export interface AddressPolicy {
  /** Loopback and private addresses too; to these alone also without TLS. */
  allowsPrivate: boolean
}

type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/** Why a URL cannot be a receiver's, as the end of a sentence; undefined if it can. */
export function urlProblem(text: string, { allowsPrivate }: AddressPolicy): string | undefined {
  if (!URL.canParse(text)) return 'is not a URL'
  const url = new URL(text)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && allowsPrivate)) {
    return 'must begin with https://'
  }
  if (url.username !== '' || url.password !== '') return 'must not carry a user or a password'
  if (url.hash !== '') return 'must not have a fragment'
  const address = literalAddress(url)
  const policy = { allowsPrivate, isPlain: url.protocol === 'http:' }
  if (address !== undefined && !isAllowed(address, policy)) {
    return policy.isPlain
      ? 'must begin with https://: only private addresses may do without'
      : 'names an address that is not public'
  }
  return undefined
}

/** For a connection to the host of a URL: only addresses that are allowed come out. */
export function guardedLookup(
  policy: AddressPolicy & { isPlain: boolean },
  resolve: Resolve = systemLookup,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, [])
      const addresses = found.filter(({ address }) => isAllowed(address, policy))
      if (addresses.length === 0) return callback(new AddressNotAllowedError(hostname), [])
      if (options.all === true) return callback(null, addresses)
      callback(null, addresses[0].address, addresses[0].family)
    })
  }
}

/** Whether the whole internet can reach it, and it is one machine. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !special.check(address, 'ipv4')
  // A zone belongs to a link of this machine.
  if (family !== 6 || address.includes('%')) return false
  return globalUnicast.check(address, 'ipv6') && !special.check(address, 'ipv6')
}

function isAllowed(
  address: string,
  { allowsPrivate, isPlain }: AddressPolicy & { isPlain: boolean },
): boolean {
  return isPublicAddress(address) ? !isPlain : allowsPrivate
}

/** The address in a URL's place of a name: no lookup is made for it. */
function literalAddress({ hostname }: URL): string | undefined {
  const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return isIP(address) === 0 ? undefined : address
}

class AddressNotAllowedError extends Error {
  readonly code = 'address_not_allowed'

  constructor(hostname: string) {
    super(`${hostname} has no address that webhooks may be sent to`)
  }
}

/** Of IPv6 all else is private, local, or another protocol's way to an address of IPv4. */
const globalUnicast = new BlockList()
globalUnicast.addSubnet('2000::', 3, 'ipv6')

/** From the registries of special-purpose addresses (RFC 6890 and its successors) and multicast. */
const special = new BlockList()
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(network, bits, 'ipv4')
}
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special.addSubnet(network, bits, 'ipv6')
}
