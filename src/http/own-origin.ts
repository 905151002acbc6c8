import type { IncomingHttpHeaders } from 'node:http'

/** Whether a request is of a page of ours, or of no page at all: pages of others can make a browser send requests here too. */
export function isOwnOrigin({ origin, host }: IncomingHttpHeaders): boolean {
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
}
