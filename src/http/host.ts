/** A DNS name (with the underscores of container networks), an IPv4 or a bracketed IPv6 address, and perhaps a port. */
const HOST = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/

/**
 * Whether a Host header names a host that is served here.
 * @param httpVersion HTTP/1.0 knows no Host header; where there is a list, it must be there all the same
 * @param allowed lower-case `name` (any port) or `name:port` entries; null allows every well-formed host
 */
export function isAllowedHost(host: string | undefined, httpVersion: string, allowed: ReadonlySet<string> | null): boolean {
  if (host === undefined) return httpVersion === '1.0' && allowed === null
  if (!HOST.test(host)) return false
  if (allowed === null) return true
  const lower = host.toLowerCase()
  return allowed.has(lower) || allowed.has(lower.replace(/:[0-9]{1,5}$/, ''))
}
