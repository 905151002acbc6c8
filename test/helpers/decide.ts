import { charges } from '../../src/charges/charge.ts'
import { type ChargeOnceInput, chargeOnce } from '../../src/charges/charge-once.ts'
import { refund } from '../../src/charges/refund.ts'
import { type Grant, grants } from '../../src/grants/grant.ts'
import { type IssueInput, issue } from '../../src/grants/issue.ts'
import { voidGrant } from '../../src/grants/void.ts'
import { assert, type ErrorCode, type Refusal } from '../../src/kernel/errors.ts'
import type { Draft, Speaker } from '../../src/ledger/book.ts'
import type { Command, Outcome } from '../../src/ledger/command.ts'
import type { Wallet } from '../../src/ledger/wallet.ts'
import {
  type ChargePolicy,
  type ExchangeRate,
  type Markup,
  type ModelPrice,
  type OperationPrice,
  type PriceBook,
  rateKey,
  type Version,
} from '../../src/pricing/prices.ts'
import type { CostRequest } from '../../src/pricing/quote.ts'
import { type ActualCost, type CommitInput, commit } from '../../src/reservations/commit.ts'
import { expire } from '../../src/reservations/expire.ts'
import { extend } from '../../src/reservations/extend.ts'
import { release } from '../../src/reservations/release.ts'
import { type Reservation, reservations } from '../../src/reservations/reservation.ts'
import { type ReserveInput, reserve } from '../../src/reservations/reserve.ts'
import { adjust } from '../../src/wallets/adjust.ts'
import { configure, type Settings, setStatus } from '../../src/wallets/configure.ts'
import { broken } from '../properties/invariants.ts'
import { MemoryStore, newWallet } from '../properties/memory-store.ts'

/** A moment in which every scenario begins. */
export const START = 1_800_000_000_000
export const CLIENT = '0000000a-0000-7000-8000-000000000000'
export const OTHER_CLIENT = '0000000b-0000-7000-8000-000000000000'
export const NOWHERE = '0000000c-0000-7000-8000-000000000000'

const PRICED_FROM = START - 86_400_000
const version = (id: string) => ({ id, effectiveFrom: PRICED_FROM })

/** A version of a model's price, at 0.5 and 1.5 dollars per million tokens unless something else is said. */
export const modelPrice = (model: string, said: Partial<ModelPrice> = {}): ModelPrice => ({
  ...version(`price of ${model}`),
  model,
  provider: 'acme',
  rates: { input_tokens: '0.5', output_tokens: '1.5' },
  variants: [],
  aliases: [],
  contextWindow: null,
  maxOutputTokens: null,
  capabilities: [],
  costTier: 'cheap',
  enabled: true,
  source: 'manual',
  ...said,
})

export const operationPrice = (operation: string, said: Partial<OperationPrice> = {}): OperationPrice => ({
  ...version(`price of ${operation}`),
  operation,
  flatCost: 0n,
  unitCost: 7n,
  enabled: true,
  ...said,
})

/** A markup of 20 % on everything. */
export const MARKUP: Markup = { ...version('markup'), scope: 'default', percent: '20' }
/** A dollar is a credit. */
export const RATE: ExchangeRate = { ...version('rate'), currency: 'USD', purpose: 'consumption', creditsPerUnit: '1' }
export const POLICY: ChargePolicy = { ...version('policy'), minimumCharge: 20n, maximumCharge: 2_000n, roundTo: 1n, ownerExempt: true }

/** A price book of versions in any order. */
export function bookOf(versions: {
  readonly models?: readonly ModelPrice[]
  readonly operations?: readonly OperationPrice[]
  readonly markups?: readonly Markup[]
  readonly rates?: readonly ExchangeRate[]
  readonly policies?: readonly ChargePolicy[]
}): PriceBook {
  return {
    models: newestFirst(versions.models ?? [], (price) => price.model),
    operations: newestFirst(versions.operations ?? [], (price) => price.operation),
    markups: newestFirst(versions.markups ?? [], (markup) => markup.scope),
    exchangeRates: newestFirst(versions.rates ?? [], (rate) => rateKey(rate.currency, rate.purpose)),
    policies: newestFirst(versions.policies ?? [], () => '').get('') ?? [],
  }
}

function newestFirst<V extends Version>(versions: readonly V[], nameOf: (version: V) => string): Map<string, V[]> {
  const lists = Map.groupBy(versions, nameOf)
  for (const list of lists.values()) list.sort((a, b) => b.effectiveFrom - a.effectiveFrom)
  return lists
}

/** A token of `small` costs 0.6 in and 1.8 out, a unit of `scan` 7; a priced charge costs at least 20 and at most 2,000 micro-credits. */
export const PRICES: PriceBook = bookOf({
  models: [modelPrice('small'), modelPrice('large'), modelPrice('retired', { enabled: false })],
  operations: [operationPrice('scan'), operationPrice('forgotten', { enabled: false })],
  markups: [MARKUP],
  rates: [RATE],
  policies: [POLICY],
})

/** `PRICES` with some versions more. */
export function pricesWith(more: Parameters<typeof bookOf>[0]): PriceBook {
  return bookOf({
    models: [...[...PRICES.models.values()].flat(), ...(more.models ?? [])],
    operations: [...[...PRICES.operations.values()].flat(), ...(more.operations ?? [])],
    markups: [MARKUP, ...(more.markups ?? [])],
    rates: [RATE, ...(more.rates ?? [])],
    policies: [POLICY, ...(more.policies ?? [])],
  })
}

export const usage = (input_tokens: number, output_tokens = 0) => ({ input_tokens, output_tokens })
type WorkRequest = Extract<CostRequest, { readonly amount?: undefined }>
type ActualWork = Extract<ActualCost, { readonly amount?: undefined }>

/** Work of any kind: what is not said is nothing, or as usual. */
export const work = (said: Partial<WorkRequest>): WorkRequest => ({
  model: null,
  provider: null,
  operation: null,
  units: null,
  usage: null,
  serviceTier: 'standard',
  ...said,
})
export const tokens = (input: number, output = 0, model = 'small') => work({ model, usage: usage(input, output) })
export const units = (count: number, operation = 'scan') => work({ operation, units: count })

/** What a commit says of the work: what is not said is as it was reserved. */
export const actual = (said: Partial<ActualWork>): ActualWork => ({
  model: null,
  provider: null,
  operation: null,
  units: null,
  usage: null,
  usageTotal: null,
  serviceTier: null,
  ...said,
})
/** Tokens of the reserved model. */
export const used = (input: number, output = 0) => actual({ usage: usage(input, output) })
export const usedInAll = (input: number, output = 0) => actual({ usageTotal: usage(input, output) })

const NOTES = { reference: null, metadata: null } as const

/**
 * A small book in memory for scenarios: wallets and grants in micro-credits, commands one by one, a clock that stands still unless it
 * is moved. After each command the invariants of the wallets that it changed are checked.
 */
export class Bench {
  readonly store: MemoryStore
  now = START
  prices: PriceBook = PRICES
  #commands = 0
  #wallets = 0
  /** How many ledger rows of a wallet were checked with earlier commands. */
  readonly #checked = new Map<string, number>()

  /** @param backwards loads the newest rows first: tables have no order */
  constructor(backwards = false) {
    this.store = new MemoryStore(null, backwards)
  }

  wallet(settings: Partial<Wallet> = {}): string {
    this.#wallets += 1
    const id = `000000${this.#wallets.toString(16).padStart(2, '0')}-0000-7000-8b00-000000000000`
    this.store.addWallet({ ...newWallet(id, CLIENT, 'user', `u${this.#wallets}`, START), ...settings })
    return id
  }

  /** Runs a decision as a command of its own. @returns its outcome; a refused one leaves nothing behind */
  run<T>(
    wallets: readonly (string | undefined)[],
    rows: Command['rows'],
    decide: (draft: Draft, rowWallet: string | undefined) => Outcome<T>,
    client: string | null = CLIENT,
  ): Outcome<T> {
    this.#commands += 1
    const id = `${this.#commands.toString(16).padStart(8, '0')}-0000-7000-8c00-000000000000`
    const speaker: Speaker = {
      clientId: client,
      everyClient: client === null,
      actor: client === null ? 'system:test' : 'key:fbx_test',
      requestId: `request ${this.#commands}`,
    }
    let outcome: Outcome<T> | undefined
    const command: Command = {
      id,
      speaker,
      wallets: wallets.filter((wallet) => wallet !== undefined).map((wallet) => ({ id: wallet })),
      rows,
      name: 'test',
      idempotency: null,
      decide(draft, located) {
        outcome = decide(draft, located.rows[0])
        return outcome.ok ? { ok: true, status: 200, effectId: id, walletId: '', body: {} } : { ok: false, refusal: outcome.refusal }
      },
    }
    this.store.transact([command], this.now)
    for (const wallet of this.store.changed) {
      const book = this.book(wallet)
      const fault = broken(book, this.now, this.#checked.get(wallet) ?? 0)
      this.#checked.set(wallet, book.transactions.length)
      if (fault) throw new Error(`invariant: ${fault}`)
    }
    assert(outcome !== undefined, 'decide was called')
    return outcome
  }

  book(wallet: string) {
    const { store } = this
    return {
      wallet: this.figures(wallet),
      grants: [...(store.grants.get(wallet)?.values() ?? [])],
      reservations: [...(store.reservations.get(wallet)?.values() ?? [])],
      charges: [...(store.charges.get(wallet)?.values() ?? [])],
      transactions: store.transactions.get(wallet) ?? [],
    }
  }

  figures(wallet: string): Wallet {
    const found = this.store.wallets.get(wallet)
    assert(found !== undefined, 'the wallet was made')
    return found
  }

  /** "balance held debt" of a wallet, the form in which scenarios state them. */
  state(wallet: string): string {
    const { balance, held, debt } = this.figures(wallet)
    return `balance ${balance}, held ${held}, debt ${debt}`
  }

  /** What is left of each grant, in the order in which they were made. */
  remaining(wallet: string): bigint[] {
    return this.book(wallet).grants.map((grant) => grant.remaining)
  }

  /** The ledger rows as "kind counter-account amount". */
  ledger(wallet: string, from = 0): string[] {
    return this.book(wallet)
      .transactions.slice(from)
      .map(({ kind, counterAccount, amount }) => `${kind} ${counterAccount} ${amount}`)
  }

  stored(reservation: Reservation): Reservation {
    const found = this.store.reservations.get(reservation.walletId)?.get(reservation.id)
    assert(found !== undefined, 'the reservation was made')
    return found
  }

  issue(walletId: string | undefined, amount: bigint, input: Partial<IssueInput> = {}, client: string | null = CLIENT) {
    const all: IssueInput = {
      ...NOTES,
      walletId,
      kind: 'purchase',
      amount,
      priority: null,
      effectiveAt: null,
      expiresAt: null,
      costBasis: null,
      source: null,
      ...input,
    }
    return this.run([walletId], [], (draft) => issue(draft, all), client)
  }

  /** A grant that is there for the scenario. */
  grant(walletId: string, amount: bigint, input: Partial<IssueInput> = {}): Grant {
    return taken(this.issue(walletId, amount, input)).grant
  }

  voidGrant(grantId: string, client: string | null = CLIENT) {
    return this.run(
      [],
      [{ table: grants, id: grantId }],
      (draft, walletId) => voidGrant(draft, { walletId, grantId, reason: 'a mistake' }),
      client,
    )
  }

  reserve(walletId: string | undefined, cost: CostRequest | bigint, input: Partial<ReserveInput> = {}, client: string | null = CLIENT) {
    const all: ReserveInput = { ...NOTES, walletId, cost: costOf(cost), ttlSeconds: 60, partial: false, resourceOwner: null, ...input }
    return this.run([walletId], [], (draft) => reserve(draft, all, this.prices), client)
  }

  /** A hold that is there for the scenario. */
  hold(walletId: string, cost: CostRequest | bigint, input: Partial<ReserveInput> = {}): Reservation {
    return taken(this.reserve(walletId, cost, input)).reservation
  }

  commit(
    reservation: Pick<Reservation, 'id'>,
    cost: ActualCost | bigint,
    input: Partial<CommitInput> = {},
    client: string | null = CLIENT,
  ) {
    const { id } = reservation
    const payees = input.payees ?? []
    return this.run(
      payees.map((payee) => payee.walletId),
      [{ table: reservations, id }],
      (draft, walletId) =>
        commit(
          draft,
          {
            ...NOTES,
            basis: 'actual',
            rawUsage: null,
            occurredAt: null,
            final: true,
            payees,
            force: false,
            ...input,
            walletId,
            reservationId: id,
            cost: typeof cost === 'bigint' ? { amount: cost } : cost,
          },
          this.prices,
        ),
      client,
    )
  }

  capture(reservation: Reservation, cost: ActualCost | bigint, input: Partial<CommitInput> = {}) {
    return this.commit(reservation, cost, { ...input, final: false })
  }

  release(reservation: Pick<Reservation, 'id'>, client: string | null = CLIENT) {
    return this.run(
      [],
      [{ table: reservations, id: reservation.id }],
      (draft, walletId) => release(draft, { walletId, reservationId: reservation.id }),
      client,
    )
  }

  extend(reservation: Pick<Reservation, 'id'>, ttlSeconds: number | null, addAmount = 0n) {
    return this.run([], [{ table: reservations, id: reservation.id }], (draft, walletId) =>
      extend(draft, { walletId, reservationId: reservation.id, ttlSeconds, addAmount }),
    )
  }

  /** The sweep of one hold. @returns whether it ended it */
  expire(reservation: Reservation): boolean {
    const outcome = this.run(
      [],
      [{ table: reservations, id: reservation.id }],
      (draft, walletId) => ({ ok: true, value: walletId !== undefined && expire(draft, walletId, reservation.id) }),
      null,
    )
    return taken(outcome)
  }

  charge(walletId: string | undefined, cost: CostRequest | bigint, input: Partial<ChargeOnceInput> = {}, client: string | null = CLIENT) {
    const payees = input.payees ?? []
    const all: ChargeOnceInput = {
      ...NOTES,
      basis: 'actual',
      rawUsage: null,
      occurredAt: null,
      walletId,
      cost: costOf(cost),
      resourceOwner: null,
      force: false,
      shortfall: 'refuse',
      ...input,
      payees,
    }
    return this.run([walletId, ...payees.map((payee) => payee.walletId)], [], (draft) => chargeOnce(draft, all, this.prices), client)
  }

  refund(charge: { readonly id: string }, amount: bigint | null = null, client: string | null = CLIENT) {
    return this.run(
      [],
      [{ table: charges, id: charge.id }],
      (draft, walletId) => refund(draft, { ...NOTES, walletId, chargeId: charge.id, amount }),
      client,
    )
  }

  adjust(walletId: string | undefined, amount: bigint) {
    return this.run([walletId], [], (draft) => adjust(draft, { ...NOTES, walletId, amount, reason: 'a correction' }))
  }

  configure(walletId: string | undefined, settings: Settings) {
    return this.run([walletId], [], (draft) => configure(draft, walletId, settings, 'as agreed'))
  }

  setStatus(walletId: string | undefined, status: Wallet['status']) {
    return this.run([walletId], [], (draft) => setStatus(draft, walletId, status, 'as agreed'))
  }

  /** A wallet that has nothing and owes something. */
  owing(debt: bigint, limit = debt): string {
    const wallet = this.wallet({ overdraftLimit: limit })
    taken(this.charge(wallet, debt))
    return wallet
  }
}

function costOf(cost: CostRequest | bigint): CostRequest {
  return typeof cost === 'bigint' ? { amount: cost } : cost
}

/** The value of an outcome that must have been accepted. */
export function taken<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`refused: ${outcome.refusal.code}: ${outcome.refusal.detail}`)
  return outcome.value
}

/** The code of an outcome that must have been refused, or "accepted". */
export function refused(outcome: Outcome<unknown>): ErrorCode | 'accepted' {
  return outcome.ok ? 'accepted' : outcome.refusal.code
}

export function figuresOfRefusal(outcome: Outcome<unknown>): Refusal['extra'] {
  return outcome.ok ? undefined : outcome.refusal.extra
}
