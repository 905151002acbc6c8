import { z } from 'zod'
import * as field from '../http/fields.ts'

/** The frames of the socket. `asyncapi.yaml` describes the same, and a test compares them. */

const wallets = z.array(field.wallet).min(1).max(1_000)
const id = z.union([z.string().max(100), z.int()])
const call = { jsonrpc: z.literal('2.0'), id }

export const subscribeCall = z.strictObject({
  ...call,
  method: z.literal('wallet.subscribe'),
  params: z
    .strictObject({
      wallets: wallets.optional(),
      transactions: z.boolean().default(false),
      after_seq: z
        .int()
        .min(0)
        .optional()
        .meta({ description: 'Ledger rows behind this one come first. For a call that names exactly one wallet' }),
    })
    .refine(({ wallets, after_seq }) => after_seq === undefined || wallets?.length === 1, {
      path: ['after_seq'],
      message: 'counts the rows of one wallet: name exactly one in `wallets`',
    })
    // The same for the documentation, which cannot read a function.
    .meta({ dependencies: { after_seq: { required: ['wallets'], properties: { wallets: { type: 'array', maxItems: 1 } } } } })
    .default({ transactions: false }),
})

export const unsubscribeCall = z.strictObject({
  ...call,
  method: z.literal('wallet.unsubscribe'),
  params: z.strictObject({ wallets: wallets.optional() }).default({}),
})

export const pingCall = z.strictObject({ ...call, method: z.literal('session.ping'), params: z.strictObject({}).default({}) })

export const anyCall = z.discriminatedUnion('method', [subscribeCall, unsubscribeCall, pingCall])

export const balanceParams = z.object({
  wallet_id: field.id('wallet'),
  epoch: z.string(),
  version: z.int(),
  balance: field.creditsOut,
  held: field.creditsOut,
  available: field.creditsOut,
  debt: field.creditsOut,
  as_of: field.timeOut,
  cause: z.object({ type: z.string(), id: z.string().nullable() }),
})

export const lowBalanceParams = z.object({
  wallet_id: field.id('wallet'),
  version: z.int(),
  available: field.creditsOut,
  threshold: field.creditsOut,
})

export const closingParams = z.object({ reason: z.string(), code: z.int(), retry_after_seconds: z.int() })

export const ticketAnswer = z
  .object({ ticket: z.string().meta({ description: 'Good once, as the subprotocol `ticket.<ticket>`' }), expires_at: field.timeOut })
  .meta({ id: 'RealtimeTicket' })

/** For the documentation only: the answer is written past the serializer. */
export const streamAnswer = {
  description: 'Events until somebody closes, each with the parameters of a frame as `data`',
  content: { 'text/event-stream': { schema: z.string() } },
}
