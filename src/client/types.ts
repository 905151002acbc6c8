/** What the client hands out, named as on the wire (docs/realtime.md). Amounts are decimal strings of credits, times RFC 3339 in UTC. */

/** The state of a wallet at `version`. The object of a wallet is replaced when a figure changes, and never altered. */
export interface Balance {
  readonly wallet_id: string
  readonly epoch: string
  readonly version: number
  readonly balance: string
  readonly held: string
  readonly available: string
  readonly debt: string
  readonly as_of: string
  /** What made this version; null where it was read rather than pushed. */
  readonly cause: { readonly type: string; readonly id: string | null } | null
}

/** A ledger row, as in `GET /v1/wallets/{wallet}/transactions`. */
export interface Transaction {
  readonly wallet_id: string
  readonly seq: number
  readonly id: string
  readonly kind: string
  readonly amount: string
  readonly counter_account: string
  readonly balance_after: string
  readonly [field: string]: unknown
}

export interface LowBalance {
  readonly wallet_id: string
  readonly version: number
  readonly available: string
  readonly threshold: string
}

/** A wallet that the service does not show us, as it was asked for; undefined for the caller's own. */
export interface Refused {
  readonly wallet: string | undefined
  /** `wallet_not_found` and the like, from docs/errors.md. */
  readonly code: string
  readonly message: string
}

export type Reason =
  | 'starting'
  | 'socket'
  | 'stream'
  | 'socket_blocked'
  | 'connection_lost'
  | 'network_offline'
  | 'credential_failed'
  | 'credential_ended'
  | 'server_restarting'
  | 'server_busy'
  | 'too_many'
  | 'not_allowed'
  | 'protocol_broken'
  | 'by_caller'

/**
 * How fresh the figures are. `live`: pushed, over a socket or a stream. `polling`: read every few seconds. `connecting`: may be
 * behind, for a moment. `offline`: several attempts failed; they go on. `closed`: for good; a new client is needed.
 */
export interface Status {
  readonly state: 'connecting' | 'live' | 'polling' | 'offline' | 'closed'
  readonly reason: Reason
}

export interface FareboxEvents {
  status: Status
  low_balance: LowBalance
  transaction: Transaction
  refused: Refused
}

/** Tells one event of the client to whoever listens. */
export type Emit = <K extends keyof FareboxEvents>(event: K, value: FareboxEvents[K]) => void

const isText = (value: unknown): value is string => typeof value === 'string'

/**
 * A wallet's state out of a frame, or of `GET /v1/wallets/{wallet}/balance`, which names the wallet `id`. Undefined for anything
 * else: what a later version of the service sends must not break this one.
 */
export function balanceFromWire(value: unknown): (Omit<Balance, 'epoch'> & { readonly epoch: string | undefined }) | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { wallet_id, id, epoch, version, balance, held, available, debt, as_of, cause } = value as Partial<Balance> & { id?: unknown }
  const wallet = wallet_id ?? id
  if (!isText(wallet) || !Number.isSafeInteger(version) || (epoch !== undefined && !isText(epoch))) return undefined
  if (!isText(balance) || !isText(held) || !isText(available) || !isText(debt) || !isText(as_of)) return undefined
  return { wallet_id: wallet, epoch, version: version as number, balance, held, available, debt, as_of, cause: cause ?? null }
}
