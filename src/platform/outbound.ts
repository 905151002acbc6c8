import { type LookupAddress, type LookupOptions, lookup as resolve } from 'node:dns'
import ipaddr from 'ipaddr.js'
import { Agent, request } from 'undici'

/**
 * Requests to addresses that somebody else chose. They reach the public internet and nothing else: no loopback, no private network, no
 * metadata service. It is looked at when the address is given (`checkUrl`), and again with every address that its name leads to at the
 * moment of the connection, since a name can lead elsewhere by then. Redirects are not followed: they would be a third way in.
 */

const URL_LENGTH_MAX = 2_048
/** Names that never lead out of the machine or the local network, whatever a resolver says (RFC 6761, RFC 6762, RFC 8375). */
const LOCAL_NAME = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|home\.arpa)$/
/** Addresses of IPv6 that are given out at all (RFC 4291 §2.4); whatever lies beside them is for special uses. */
const GLOBAL_UNICAST = ipaddr.parseCIDR('2000::/3') as [ipaddr.IPv6, number]
/** Origins that are kept open at once. */
const ORIGINS_MAX = 256
const CONNECTIONS_MAX = 8
const HEADERS_BYTES_MAX = 16 * 1024

/** Why an address is not called. The message may be shown to whoever gave it: it tells nothing of what a name leads to. */
export class OutboundRefused extends Error {
  override readonly name = 'OutboundRefused'
}

export interface OutboundPolicy {
  /** Takes http and private addresses as well: for addresses that the operator chose, and for development. */
  readonly allowPrivate: boolean
}

export interface OutboundOptions extends OutboundPolicy {
  /** Of the whole exchange, from the look-up to the last byte. */
  readonly timeoutMs: number
  readonly answerBytesMax: number
  /** For tests. */
  readonly lookup?: typeof resolve
}

export interface OutboundRequest {
  readonly method?: string
  readonly headers?: RequestInit['headers']
  readonly body?: string | null
  readonly signal?: AbortSignal | null
}

export interface Outbound {
  /** @throws OutboundRefused for an address that must not be called; what the network says otherwise */
  fetch(url: string, options?: OutboundRequest): Promise<Response>
  close(): Promise<void>
}

/**
 * Checks an address that somebody gives us to call later.
 * @returns the address as it will be called: other spellings of an IP address (decimal, octal, hexadecimal) are undone
 * @throws OutboundRefused
 */
export function checkUrl(text: string, { allowPrivate }: OutboundPolicy): URL {
  if (text.length > URL_LENGTH_MAX || !URL.canParse(text)) throw new OutboundRefused('This is not a URL.')
  const url = new URL(text)
  if (url.protocol !== 'https:' && !(allowPrivate && url.protocol === 'http:'))
    throw new OutboundRefused('The URL must begin with https://.')
  if (url.username !== '' || url.password !== '') throw new OutboundRefused('The URL must hold no user name and no password.')
  if (url.hash !== '') throw new OutboundRefused('The URL must have no fragment.')
  if (allowPrivate) return url
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const isPublic = ipaddr.isValid(host) ? isPublicAddress(host) : host.includes('.') && !LOCAL_NAME.test(host)
  if (!isPublic) throw new OutboundRefused('The URL must lead to the public internet.')
  return url
}

/** Whether an IP address is somebody's on the public internet. An IPv4 address in the clothes of IPv6 is what it is underneath. */
export function isPublicAddress(text: string): boolean {
  const address = ipaddr.process(text)
  if (address.range() !== 'unicast') return false
  return address.kind() === 'ipv4' || (address as ipaddr.IPv6).match(GLOBAL_UNICAST)
}

/** Opens connections as they are needed; `close` ends them. */
export function createOutbound(options: OutboundOptions): Outbound {
  const { allowPrivate, timeoutMs, answerBytesMax, lookup = resolve } = options
  const agent = new Agent({
    connect: { timeout: timeoutMs, ...(!allowPrivate && { lookup: publicOnly(lookup) }) },
    connections: CONNECTIONS_MAX,
    maxOrigins: ORIGINS_MAX,
    maxHeaderSize: HEADERS_BYTES_MAX,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    allowH2: false,
  })
  return {
    async fetch(text, { method = 'GET', headers, body = null, signal } = {}) {
      // Again, although it was checked when it was given: what is stored may be older than a rule.
      const url = checkUrl(text, options)
      const deadline = AbortSignal.timeout(timeoutMs)
      const answer = await request(url, {
        dispatcher: agent,
        method: method as 'GET',
        headers: Object.fromEntries(new Headers(headers)),
        body,
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      })
      const chunks: Buffer[] = []
      let size = 0
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length
        // Leaving the loop destroys the body, and the connection with it.
        if (size > answerBytesMax) throw new Error(`The answer has more than ${answerBytesMax} bytes.`)
        chunks.push(chunk)
      }
      return new Response(size === 0 ? null : Buffer.concat(chunks), { status: answer.statusCode, headers: flat(answer.headers) })
    },
    close: () => agent.destroy(),
  }
}

/** Looks names up and refuses those that lead, even with one of their addresses, to where nobody is to be called. */
function publicOnly(lookup: typeof resolve) {
  return (
    hostname: string,
    options: LookupOptions,
    done: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
  ): void => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return done(error, [])
      const [first] = addresses
      if (!first || !addresses.every(({ address }) => isPublicAddress(address))) {
        return done(new OutboundRefused('The URL must lead to the public internet.'), [])
      }
      if (options.all) done(null, addresses)
      else done(null, first.address, first.family)
    })
  }
}

function flat(headers: Record<string, string | string[] | undefined>): [string, string][] {
  return Object.entries(headers).flatMap(([name, value]) => [value ?? []].flat().map((one): [string, string] => [name, one]))
}
