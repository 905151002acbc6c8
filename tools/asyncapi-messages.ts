import { z } from 'zod'
import * as frame from '../src/realtime/schemas.ts'
import { transactionObject } from '../src/wallets/schemas.ts'

/** The frames of the socket as JSON Schema, for asyncapi.yaml: what zod checks becomes a schema, the JSON-RPC around it is written here. */

type Schema = Readonly<Record<string, unknown>>

export interface Message {
  /** What the frame is called in the document. */
  readonly name: string
  readonly summary: string
  readonly payload: Schema
}

export interface Call extends Message {
  readonly operation: string
  readonly answer: Message
}

/** What clients send, each with its answer. */
export function describedCalls(): Call[] {
  return [
    {
      operation: 'subscribe',
      name: 'SubscribeCall',
      summary: 'Follow wallets, by default all that the caller may see by itself',
      payload: received(frame.subscribeCall),
      answer: {
        name: 'SubscribeResult',
        summary: 'The present state of each wallet; what follows is newer',
        payload: result({ wallets: { type: 'array', items: { $ref: '#/components/schemas/Balance' } } }),
      },
    },
    {
      operation: 'unsubscribe',
      name: 'UnsubscribeCall',
      summary: 'Follow wallets no more, by default all',
      payload: received(frame.unsubscribeCall),
      answer: {
        name: 'UnsubscribeResult',
        summary: 'How many wallets that were',
        payload: result({ wallets: { type: 'integer', minimum: 0 } }),
      },
    },
    {
      operation: 'ping',
      name: 'PingCall',
      summary: 'Find out whether the socket still works; browsers do not show the pings of the protocol',
      payload: received(frame.pingCall),
      answer: {
        name: 'PingResult',
        summary: 'The clock of the service',
        payload: result({ now: { type: 'string', format: 'date-time' } }),
      },
    },
  ]
}

/** What the service sends by itself. */
export function describedNotifications(): Message[] {
  return [
    {
      name: 'WalletBalance',
      summary: 'The state of a wallet at a version. Drop it unless the version is greater than the last one of the same epoch',
      payload: notification('wallet.balance', 'Balance'),
    },
    {
      name: 'WalletTransaction',
      summary: 'A row of the ledger, for subscriptions that asked for transactions',
      payload: notification('wallet.transaction', 'Transaction'),
    },
    {
      name: 'WalletLowBalance',
      summary: 'Available credits fell below the threshold of the wallet',
      payload: notification('wallet.low_balance', 'LowBalance'),
    },
    { name: 'SessionClosing', summary: 'The socket closes next, and why', payload: notification('session.closing', 'Closing') },
  ]
}

const RPC_ID = { type: ['string', 'integer', 'null'], description: 'That of the call; null where it could not be read' }

const ERROR: Schema = {
  type: 'object',
  properties: {
    jsonrpc: { const: '2.0' },
    id: RPC_ID,
    error: {
      type: 'object',
      properties: {
        code: {
          enum: [-32700, -32600, -32601, -32602, -32000],
          description: 'No JSON; no call; no such method; wrong parameters, or refused; try again',
        },
        message: { type: 'string' },
        data: {
          type: 'object',
          properties: {
            code: { type: 'string', description: 'Stable: branch on this, never on texts', examples: ['wallet_not_found'] },
            detail: { type: 'string' },
            retryable: { type: 'boolean' },
            retry_after_seconds: { type: 'integer', minimum: 0 },
            errors: {
              type: 'array',
              items: {
                type: 'object',
                properties: { pointer: { type: 'string' }, message: { type: 'string' } },
                required: ['pointer', 'message'],
              },
            },
          },
          required: ['code', 'detail', 'retryable'],
        },
      },
      required: ['code', 'message', 'data'],
    },
  },
  required: ['jsonrpc', 'id', 'error'],
}

/** The answer to any call that is refused. */
export const FAILED: Message = {
  name: 'Error',
  summary: 'A call was refused. Branch on `data.code`; docs/errors.md lists them all',
  payload: ERROR,
}

/** What several frames carry. */
export function describedParts(): Readonly<Record<string, Schema>> {
  return {
    Balance: sent(frame.balanceParams),
    // By its shape: under its own name zod would make a reference of it.
    Transaction: sent(z.object(transactionObject.shape)),
    LowBalance: sent(frame.lowBalanceParams),
    Closing: sent(frame.closingParams),
  }
}

function result(properties: Schema): Schema {
  const value = { type: 'object', properties, required: Object.keys(properties) }
  return { type: 'object', properties: { jsonrpc: { const: '2.0' }, id: RPC_ID, result: value }, required: ['jsonrpc', 'id', 'result'] }
}

function notification(method: string, params: string): Schema {
  return {
    type: 'object',
    properties: { jsonrpc: { const: '2.0' }, method: { const: method }, params: { $ref: `#/components/schemas/${params}` } },
    required: ['jsonrpc', 'method', 'params'],
  }
}

/** The schema of what a client sends: strict, as the service is. */
function received(schema: z.ZodType): Schema {
  return toSchema(schema, 'input')
}

/** The schema of what the service sends: a later version may say more, and that must not break who reads it. */
function sent(schema: z.ZodType): Schema {
  return toSchema(schema, 'output')
}

/** Draft 7 is what AsyncAPI builds on. */
function toSchema(schema: z.ZodType, io: 'input' | 'output'): Schema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-7',
    io,
    override({ jsonSchema: one }) {
      // OpenAPI's word for what JSON Schema has a list for.
      if ('example' in one) {
        one.examples = [one.example]
        delete one.example
      }
      if (io === 'output' && one.additionalProperties === false) delete one.additionalProperties
      // That numbers of JSON are safe goes without saying.
      if (one.maximum === Number.MAX_SAFE_INTEGER) delete one.maximum
      if (one.minimum === Number.MIN_SAFE_INTEGER) delete one.minimum
    },
  })
  return rest
}
