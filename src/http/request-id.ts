import type { IncomingMessage } from 'node:http'
import { newId } from '../kernel/ids.ts'

export const REQUEST_ID_HEADER = 'x-request-id'

/** Characters that need no escaping in a log line, a header or a URI reference. */
const ACCEPTABLE = /^[A-Za-z0-9._-]{1,64}$/

/** The caller's request id where it is a plain word, else a new one: whatever else was sent is never logged nor answered. */
export function requestIdOf(request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers[REQUEST_ID_HEADER]
  return typeof given === 'string' && ACCEPTABLE.test(given) ? given : newId()
}
