import { Agent } from 'undici'
import type { Sent, Told } from './journal.ts'

/** What became of one try: an answer that settles the command, or none that does. */
export type Reply =
  | { readonly told: Told }
  | {
      readonly told: null
      /** The status and code of an answer that settles nothing, or what the socket said. */
      readonly why: string
      /** The connection was refused: nobody has seen the command. */
      readonly isUnsent: boolean
    }

export interface Sender {
  send(base: string, sent: Sent): Promise<Reply>
  close(): Promise<void>
}

/** What the lane refuses with, and stores. Anything else that is no success says nothing of the command. */
const REFUSALS = [402, 404, 409, 422]
/** Longer than the service lets anybody wait. */
const ANSWER_MS_MAX = 15_000

/** Sends commands over keep-alive connections, as many at once as there are `connections` to each address. */
export function createSender(key: string, connections: number): Sender {
  const limits = { headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX, connectTimeout: ANSWER_MS_MAX }
  const agent = new Agent({ connections, pipelining: 1, ...limits })
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  return {
    async send(base, sent) {
      try {
        const answer = await agent.request({
          origin: base,
          path: sent.path,
          method: 'POST',
          headers: { ...headers, 'idempotency-key': sent.key },
          body: JSON.stringify(sent.body),
        })
        const text = await answer.body.text()
        const status = answer.statusCode
        if (status < 300 || REFUSALS.includes(status)) {
          return { told: { status, text, replayed: answer.headers['idempotent-replayed'] === 'true' } }
        }
        const { code } = (answer.headers['content-type']?.includes('json') ? JSON.parse(text) : {}) as { code?: string }
        return { told: null, why: `${status} ${code}`, isUnsent: false }
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        return { told: null, why: code ?? message, isUnsent: code === 'ECONNREFUSED' }
      }
    },
    close: () => agent.destroy(),
  }
}
