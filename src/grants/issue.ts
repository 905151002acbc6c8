import { BALANCE_MICRO_MAX, type Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Instant } from '../kernel/time.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { post } from '../ledger/post.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { defaultPriority, type Grant, type GrantKind, grants, type IssuedKind, LIVE_GRANTS_MAX, originOf, putGrant } from './grant.ts'
import { settle } from './settle.ts'

export interface IssueInput {
  readonly walletId: string | undefined
  readonly kind: IssuedKind
  readonly amount: Micro
  readonly priority: number | null
  readonly effectiveAt: Instant | null
  readonly expiresAt: Instant | null
  readonly costBasis: string | null
  readonly source: string | null
  readonly reference: string | null
  readonly metadata: string | null
}

/** Puts a grant into a wallet: at once, or scheduled when its `effectiveAt` lies ahead. */
export function issue(draft: Draft, input: IssueInput): Outcome<{ grant: Grant; wallet: Wallet }> {
  const wallet = draft.findWallet(input.walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet takes no grants.'))
  settle(draft, wallet.id)
  const effectiveAt = input.effectiveAt ?? draft.now
  if (input.expiresAt !== null && input.expiresAt <= Math.max(effectiveAt, draft.now)) {
    return refuse(refusal('grant_times_invalid', 'expires_at must lie after effective_at and in the future.'))
  }
  const room = roomFor(draft, wallet.id, input.amount)
  if (!room.ok) return room
  const grant = addGrant(draft, {
    ...input,
    id: draft.commandId,
    walletId: wallet.id,
    effectiveAt,
    clientId: draft.speaker.clientId,
  })
  if (grant.postedAt !== null) {
    post(draft, {
      walletId: wallet.id,
      kind: 'grant',
      amount: input.amount,
      counterAccount: originOf(input.kind),
      draws: [{ grantId: grant.id, amount: input.amount }],
      reference: input.reference,
      metadata: input.metadata,
      occurredAt: effectiveAt,
    })
    settle(draft, wallet.id)
  }
  return done({ grant: draft.get(grants, wallet.id, grant.id) ?? grant, wallet: draft.wallet(wallet.id) })
}

/** Refuses one more grant where a wallet has the largest number of live ones, or would pass the largest balance. */
export function roomFor(draft: Draft, walletId: string, amount: Micro): Outcome<null> {
  const live = draft.list(grants, walletId).filter((grant) => grant.spentAt === null)
  if (live.length >= LIVE_GRANTS_MAX) {
    return refuse(refusal('too_many_grants', `A wallet has at most ${LIVE_GRANTS_MAX} grants that are not spent.`))
  }
  return fits(draft, walletId, amount)
}

/** Refuses what would take a wallet past the largest balance, now or when its scheduled grants take effect. */
export function fits(draft: Draft, walletId: string, amount: Micro): Outcome<null> {
  let balance = draft.wallet(walletId).balance + amount
  for (const grant of draft.list(grants, walletId)) {
    if (grant.postedAt === null && grant.voidedAt === null) balance += grant.amount
  }
  if (balance <= BALANCE_MICRO_MAX) return done(null)
  return refuse(refusal('balance_limit_exceeded', 'A wallet holds at most nine trillion credits.'))
}

export interface NewGrant {
  readonly id: string
  readonly walletId: string
  readonly kind: GrantKind
  readonly amount: Micro
  readonly reference: string | null
  readonly priority?: number | null
  /** Now when absent; ahead of now schedules the grant. */
  readonly effectiveAt?: Instant
  readonly expiresAt?: Instant | null
  readonly costBasis?: string | null
  readonly source?: string | null
  /** The client whose command issued it; absent for the lots that other commands make. */
  readonly clientId?: string | null
}

/** Adds a grant that is there at once, and the ledger row that brings its credits. The caller settles, and has seen that there is room. */
export function giveGrant(draft: Draft, input: Omit<NewGrant, 'id' | 'effectiveAt'> & { readonly id?: string }): Grant {
  const grant = addGrant(draft, { ...input, id: input.id ?? draft.nextId() })
  const { id, walletId, kind, amount, reference } = grant
  post(draft, { walletId, kind: 'grant', amount, counterAccount: originOf(kind), draws: [{ grantId: id, amount }], reference })
  return grant
}

/** Adds the lot itself; the caller posts the ledger row that brings its credits. */
export function addGrant(draft: Draft, input: NewGrant): Grant {
  const effectiveAt = input.effectiveAt ?? draft.now
  const expiresAt = input.expiresAt ?? null
  const scheduled = effectiveAt > draft.now
  const grant: Grant = {
    walletId: input.walletId,
    id: input.id,
    kind: input.kind,
    amount: input.amount,
    remaining: scheduled ? 0n : input.amount,
    held: 0n,
    priority: input.priority ?? defaultPriority(input.kind, expiresAt),
    effectiveAt,
    expiresAt,
    costBasis: input.costBasis ?? null,
    source: input.source ?? null,
    reference: input.reference,
    clientId: input.clientId ?? null,
    postedAt: scheduled ? null : draft.now,
    voidedAt: null,
    spentAt: null,
    createdAt: draft.now,
  }
  putGrant(draft, grant)
  return grant
}
