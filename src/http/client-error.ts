import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type Refusal, refusal } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { PROBLEM_MEDIA_TYPE, renderProblem } from './problem.ts'
import { REQUEST_ID_HEADER } from './request-id.ts'

/** A response that Node has begun on the socket, if any; its own clientError default looks at the same field. */
interface BusySocket extends Socket {
  readonly _httpMessage?: { readonly headersSent: boolean } | null
}

/**
 * For Fastify's `clientErrorHandler`: bytes that never became a request are answered with a problem too, and the connection is
 * closed, since nothing that follows on it can be trusted.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const response = (socket as BusySocket)._httpMessage
  if (!socket.writable || response?.headersSent) {
    socket.destroy(error)
    return
  }
  const requestId = newId()
  const { status, body } = renderProblem(refusalFor(error.code), requestId)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `content-type: ${PROBLEM_MEDIA_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `${REQUEST_ID_HEADER}: ${requestId}`,
    'x-content-type-options: nosniff',
    'cache-control: no-store',
    'connection: close',
  ]
  // Half-closed first: a socket destroyed at once may take the answer down with it.
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy(error))
}

function refusalFor(code: string | undefined): Refusal {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return refusal('request_timeout', 'The request did not arrive in time.')
    case 'HPE_HEADER_OVERFLOW':
      return refusal('headers_too_large', 'Method, path and headers may have 16 KiB together.')
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return refusal('payload_too_large', 'The chunk extensions of the body are too large.')
    default:
      return refusal('invalid_request', 'This is not a well-formed HTTP/1.1 request.')
  }
}
