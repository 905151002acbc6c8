import { formatCredits } from '../kernel/credits.ts'
import { ERROR_CODES, type Refusal } from '../kernel/errors.ts'
import { type IdKind, toWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import type { State } from './feed.ts'
import { anyCall } from './schemas.ts'

/** JSON-RPC 2.0 (jsonrpc.org/specification): the texts of frames. */

const PARSE_ERROR = -32_700
const INVALID_REQUEST = -32_600
const METHOD_NOT_FOUND = -32_601
const INVALID_PARAMS = -32_602
const SERVER_ERROR = -32_000

const METHODS: readonly string[] = ['wallet.subscribe', 'wallet.unsubscribe', 'session.ping']

type CallId = string | number | null

export type Call =
  | {
      readonly id: CallId
      readonly method: 'wallet.subscribe'
      readonly params: { readonly wallets: readonly string[] | null; readonly transactions: boolean; readonly afterSeq: number | null }
    }
  | { readonly id: CallId; readonly method: 'wallet.unsubscribe'; readonly params: { readonly wallets: readonly string[] | null } }
  | { readonly id: CallId; readonly method: 'session.ping' }

/** The call in a frame, or the text of the error that answers it. */
export function parseCall(text: string): Call | { readonly error: string } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { error: error(null, PARSE_ERROR, { code: 'invalid_json', detail: 'The frame is not one JSON text.' }) }
  }
  const { id: given, method } = (typeof value === 'object' && value !== null ? value : {}) as { id?: unknown; method?: unknown }
  const id = typeof given === 'string' || typeof given === 'number' ? given : null
  const parsed = anyCall.safeParse(value)
  if (!parsed.success) {
    const errors = parsed.error.issues.map(({ path, message }) => ({ pointer: path.map((step) => `/${String(step)}`).join(''), message }))
    const refusal: Refusal = {
      code: 'invalid_request',
      detail: `The call is not valid: ${errors[0]?.pointer} ${errors[0]?.message}.`,
      errors,
    }
    if (typeof method === 'string' && !METHODS.includes(method)) return { error: error(id, METHOD_NOT_FOUND, refusal) }
    return { error: error(id, typeof method === 'string' && id !== null ? INVALID_PARAMS : INVALID_REQUEST, refusal) }
  }
  const call = parsed.data
  switch (call.method) {
    case 'wallet.subscribe': {
      const { wallets, transactions, after_seq: afterSeq } = call.params
      return { id: call.id, method: call.method, params: { wallets: wallets ?? null, transactions, afterSeq: afterSeq ?? null } }
    }
    case 'wallet.unsubscribe':
      return { id: call.id, method: call.method, params: { wallets: call.params.wallets ?? null } }
    case 'session.ping':
      return { id: call.id, method: call.method }
  }
}

/** @param value JSON text */
export function result(id: CallId, value: string): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${value}}`
}

/** The answer to a call that could not be carried out. */
export function failed(id: CallId, refusal: Refusal): string {
  return error(id, ERROR_CODES[refusal.code].retryable ? SERVER_ERROR : INVALID_PARAMS, refusal)
}

function error(id: CallId, code: number, { code: name, detail, extra, errors }: Refusal): string {
  const data = { code: name, detail, retryable: ERROR_CODES[name].retryable, ...(errors && { errors }), ...extra }
  return JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: ERROR_CODES[name].title, data } })
}

/** @param params JSON text */
export function notification(method: string, params: string): string {
  return `{"jsonrpc":"2.0","method":"${method}","params":${params}}`
}

/** The parameters of a `wallet.balance` frame. */
export function balanceText(state: State): string {
  return JSON.stringify({
    wallet_id: toWireId('wallet', state.walletId),
    epoch: state.epoch,
    version: state.version,
    balance: formatCredits(state.balance),
    held: formatCredits(state.held),
    available: formatCredits(state.balance - state.held),
    debt: formatCredits(state.debt),
    as_of: toWireTime(state.asOf),
    cause: causeToWire(state.cause),
  })
}

/** What the commands make, so that its id is told as everywhere else. */
const MADE: Readonly<Record<string, IdKind>> = {
  ...{ reserve: 'reservation', extend: 'reservation', release: 'reservation', expire: 'reservation' },
  ...{ commit: 'charge', charge: 'charge', event: 'charge', earning: 'charge' },
  ...{ grant: 'grant', void: 'grant', refund: 'transaction', adjust: 'transaction', payment: 'payment', redeem: 'redemption' },
  ...{ subscription: 'subscription', top_up_action: 'payment' },
}

function causeToWire({ type, id }: State['cause']) {
  const kind = MADE[type]
  return { type, id: kind && id !== null ? toWireId(kind, id) : null }
}

export function lowBalance(state: State): string {
  return notification('wallet.low_balance', lowBalanceText(state))
}

export function closing(code: number, reason: string, retryAfterSeconds: number): string {
  return notification('session.closing', closingText(code, reason, retryAfterSeconds))
}

/** The same as server-sent events. The id is the version. */
export function balanceEvent({ version }: State, text: string): string {
  return `event: wallet.balance\nid: ${version}\ndata: ${text}\n\n`
}

export function lowBalanceEvent(state: State): string {
  return `event: wallet.low_balance\ndata: ${lowBalanceText(state)}\n\n`
}

/** Tells an EventSource, which comes back by itself, to wait. */
export function closingEvent(code: number, reason: string, retryAfterSeconds: number): string {
  return `event: session.closing\nretry: ${retryAfterSeconds * 1_000}\ndata: ${closingText(code, reason, retryAfterSeconds)}\n\n`
}

function lowBalanceText(state: State): string {
  return JSON.stringify({
    wallet_id: toWireId('wallet', state.walletId),
    version: state.version,
    available: formatCredits(state.balance - state.held),
    threshold: formatCredits(state.lowBalanceThreshold ?? 0n),
  })
}

function closingText(code: number, reason: string, retryAfterSeconds: number): string {
  return JSON.stringify({ reason, code, retry_after_seconds: retryAfterSeconds })
}
