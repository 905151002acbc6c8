import { charges } from '../../src/charges/charge.ts'
import { chargeOnce } from '../../src/charges/charge-once.ts'
import { refund } from '../../src/charges/refund.ts'
import { grants } from '../../src/grants/grant.ts'
import { issue } from '../../src/grants/issue.ts'
import { voidGrant } from '../../src/grants/void.ts'
import { ERROR_CODES, type ErrorKind, type Refusal } from '../../src/kernel/errors.ts'
import type { Draft, Speaker } from '../../src/ledger/book.ts'
import type { Answer, Command, Decision, Located, Outcome } from '../../src/ledger/command.ts'
import type { Wallet } from '../../src/ledger/wallet.ts'
import type { ChargePolicy, ExchangeRate, Markup, ModelPrice, OperationPrice, PriceBook, Version } from '../../src/pricing/prices.ts'
import { commit } from '../../src/reservations/commit.ts'
import { expire } from '../../src/reservations/expire.ts'
import { extend } from '../../src/reservations/extend.ts'
import { release } from '../../src/reservations/release.ts'
import { reservations } from '../../src/reservations/reservation.ts'
import { reserve } from '../../src/reservations/reserve.ts'
import { adjust } from '../../src/wallets/adjust.ts'
import { configure, setStatus } from '../../src/wallets/configure.ts'
import type { Action, OAnswer, OCommand } from './oracle.ts'
import type { OPrices } from './price-oracle.ts'

/** Speaks the oracle's commands to the real decisions, and reads their answers back into the oracle's form. */

const STATUS: Partial<Record<ErrorKind, number>> = { exhausted: 402, not_found: 404, conflict: 409, unprocessable: 422 }

export function renderRefusal({ code, extra }: Refusal): { status: number; body: string } {
  const status = STATUS[ERROR_CODES[code].kind]
  if (status === undefined) throw new Error(`a decision refused with ${code}, which is not a decision's code`)
  return { status, body: JSON.stringify({ code, figures: extra ?? {} }) }
}

/** Virtual times to those of the clock that the decisions see. */
export interface Clock {
  toReal(instant: number): number
}
export const SAME_CLOCK: Clock = { toReal: (instant) => instant }

/**
 * The oracle's prices as a snapshot for the decisions. A version's id is its place among those of its kind, so it stays the same when
 * others come.
 */
export function priceBook(prices: OPrices, clock: Clock): PriceBook {
  const version = (kind: string, index: number, from: number) => ({ id: `${kind} ${index}`, effectiveFrom: clock.toReal(from) })
  const shiftMinutes = Math.round(clock.toReal(0) / 60_000)
  return {
    models: lists(
      prices.models.map(
        ({ from, model, provider, rates, variants, aliases, enabled }, index): ModelPrice => ({
          ...version('price', index, from),
          model,
          provider,
          rates,
          variants: variants.map(({ tier, above, hours, rates }) => ({
            ...(tier !== undefined && { serviceTier: tier }),
            ...(above !== undefined && { abovePromptTokens: above }),
            ...(hours && { hours: { from: shifted(hours.from, shiftMinutes), to: shifted(hours.to, shiftMinutes) } }),
            rates,
          })),
          aliases,
          contextWindow: null,
          maxOutputTokens: null,
          capabilities: [],
          costTier: 'medium',
          enabled,
          source: 'manual',
        }),
      ),
      ({ model }) => model,
    ),
    operations: lists(
      prices.operations.map(
        ({ from, operation, flat, unit, enabled }, index): OperationPrice => ({
          ...version('operation', index, from),
          operation,
          flatCost: flat,
          unitCost: unit,
          enabled,
        }),
      ),
      ({ operation }) => operation,
    ),
    markups: lists(
      prices.markups.map(({ from, scope, percent }, index): Markup => ({ ...version('markup', index, from), scope, percent })),
      ({ scope }) => scope,
    ),
    exchangeRates: lists(
      prices.rates.map(
        ({ from, currency, purpose, credits }, index): ExchangeRate => ({
          ...version('rate', index, from),
          currency,
          purpose,
          creditsPerUnit: credits,
        }),
      ),
      ({ currency, purpose }) => `${currency} ${purpose}`,
    ),
    policies: prices.policies
      .map(
        ({ from, minimum, maximum, roundTo, ownerExempt }, index): ChargePolicy => ({
          ...version('policy', index, from),
          minimumCharge: minimum,
          maximumCharge: maximum,
          roundTo,
          ownerExempt,
        }),
      )
      .sort((a, b) => b.effectiveFrom - a.effectiveFrom),
  }
}

function lists<V extends Version>(versions: readonly V[], nameOf: (version: V) => string): Map<string, V[]> {
  const byName = new Map<string, V[]>()
  for (const version of versions) byName.set(nameOf(version), [version, ...(byName.get(nameOf(version)) ?? [])])
  for (const list of byName.values()) list.sort((a, b) => b.effectiveFrom - a.effectiveFrom)
  return byName
}

/** A time of day on another clock. */
function shifted(time: string, minutes: number): string {
  const all = Number(time.slice(0, 2)) * 60 + Number(time.slice(3)) + minutes
  const minute = ((all % 1440) + 1440) % 1440
  return `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
}

/** Real grant ids by wallet and the command that made them. */
export type GrantNames = Map<string, string>
export const grantName = (walletId: string, born: string) => `${walletId} ${born.slice(0, 24)}`

/** What an admin does leaves an audit row; the other commands come from a key, even if it reaches every client's wallets. */
const AUDITED: ReadonlySet<Action['verb']> = new Set(['adjust', 'void', 'configure', 'status'])

export function toCommand(asked: OCommand, prices: PriceBook, names: GrantNames, clock: Clock): Command {
  const { action } = asked
  const speaker: Speaker =
    asked.client === ''
      ? { clientId: null, everyClient: true, actor: 'system:expiry', requestId: asked.id }
      : {
          clientId: asked.client,
          everyClient: asked.everyClient,
          actor: AUDITED.has(action.verb) ? 'admin:root' : 'key:fbx_test',
          requestId: asked.id,
        }
  const payees = 'payees' in action ? action.payees : []
  const { wallets, rows } = namesOf(action, names, asked)
  return {
    id: asked.id,
    name: action.verb,
    speaker,
    wallets: [...wallets, ...payees.map((payee) => payee.wallet)].filter((id) => id !== undefined).map((id) => ({ id })),
    rows,
    idempotency: asked.key === null ? null : { operation: action.verb, key: asked.key, fingerprint: asked.fingerprint },
    decide(draft, located) {
      const decision = decideAction(draft, action, located, prices, rows[0]?.id ?? '', clock)
      if (decision.ok) {
        for (const [table, changed] of draft.rows()) {
          if ((table as unknown) !== grants) continue
          for (const row of changed.values()) {
            const name = grantName(row.walletId, row.id)
            if (row.id.slice(0, 24) === draft.commandId.slice(0, 24)) {
              const known = names.get(name)
              if (known !== undefined && known !== row.id) throw new Error(`one command made two grants in one wallet: ${known}, ${row.id}`)
              names.set(name, row.id)
            }
          }
        }
      }
      return decision
    },
  }
}

function namesOf(action: Action, names: GrantNames, asked: OCommand): Pick<Command, 'rows'> & { wallets: (string | undefined)[] } {
  switch (action.verb) {
    case 'void':
      return { wallets: [], rows: [{ table: grants, id: names.get(grantName(action.wallet ?? '', action.born)) ?? action.born }] }
    case 'commit':
    case 'release':
    case 'extend':
    case 'expire':
      return { wallets: [], rows: [{ table: reservations, id: action.hold }] }
    case 'refund':
      return { wallets: [], rows: [{ table: charges, id: action.charge }] }
    case 'grant':
    case 'reserve':
    case 'charge':
    case 'adjust':
    case 'configure':
    case 'status':
      return { wallets: [action.wallet], rows: [] }
  }
  throw new Error(`no such verb: ${asked.id}`)
}

const NOTES = { reference: null, metadata: null } as const

function decideAction(draft: Draft, action: Action, located: Located, prices: PriceBook, rowId: string, clock: Clock): Decision {
  const rowWallet = located.rows[0]
  const detail = { ...NOTES, basis: 'actual', rawUsage: null, occurredAt: null } as const
  const payees = 'payees' in action ? action.payees.map(({ wallet, ppm }) => ({ walletId: wallet, sharePpm: ppm })) : []
  switch (action.verb) {
    case 'grant':
      return said(
        draft,
        issue(draft, {
          ...NOTES,
          walletId: action.wallet,
          kind: action.kind,
          amount: action.amount,
          priority: action.priority,
          effectiveAt: action.effectiveAt === null ? null : clock.toReal(action.effectiveAt),
          expiresAt: action.expiresAt === null ? null : clock.toReal(action.expiresAt),
          costBasis: null,
          source: null,
        }),
        ({ grant }) => ({ remaining: grant.remaining, scheduled: grant.postedAt === null, priority: grant.priority }),
      )
    case 'void':
      // As on the wire, a void has its effect on the grant that it names.
      return said(
        draft,
        voidGrant(draft, { walletId: rowWallet, grantId: rowId, reason: 'test' }),
        ({ grant }) => ({ remaining: grant.remaining }),
        rowId,
      )
    case 'reserve':
      return said(
        draft,
        reserve(
          draft,
          {
            ...NOTES,
            walletId: action.wallet,
            cost: action.cost,
            ttlSeconds: action.ttlSeconds,
            partial: action.partial,
            resourceOwner: action.resourceOwner,
          },
          prices,
        ),
        ({ reservation }) => ({ requested: reservation.requested, amount: reservation.amount }),
      )
    case 'commit':
      return said(
        draft,
        commit(
          draft,
          { ...detail, walletId: rowWallet, reservationId: rowId, cost: action.cost, final: action.final, payees, force: action.force },
          prices,
        ),
        ({ charge, reservation, released, debtAdded }) => ({
          ...chargeFigures(charge),
          debtAdded,
          released,
          holdStatus: reservation.status,
          holdCost: reservation.cost,
        }),
      )
    case 'release':
      return said(draft, release(draft, { walletId: rowWallet, reservationId: rowId }), ({ reservation }) => ({
        released: reservation.released,
        captured: reservation.captured,
      }))
    case 'extend':
      return said(
        draft,
        extend(draft, { walletId: rowWallet, reservationId: rowId, ttlSeconds: action.ttlSeconds, addAmount: action.addAmount }),
        ({ reservation }) => ({
          amount: reservation.amount,
          requested: reservation.requested,
          // Under the database's clock a deadline counts from a `now` that nobody knows beforehand.
          lifetime: clock === SAME_CLOCK ? reservation.expiresAt - reservation.createdAt : null,
        }),
      )
    case 'expire': {
      const ended = rowWallet !== undefined && expire(draft, rowWallet, rowId)
      const wallet = ended ? walletFigures(draft.wallet(rowWallet)) : {}
      return { ok: true, status: 200, effectId: draft.commandId, walletId: rowWallet ?? '', body: flat({ ended, ...wallet }) }
    }
    case 'charge':
      return said(
        draft,
        chargeOnce(
          draft,
          {
            ...detail,
            walletId: action.wallet,
            cost: action.cost,
            resourceOwner: action.resourceOwner,
            payees,
            force: action.force,
            shortfall: action.shortfall,
          },
          prices,
        ),
        ({ charge }) => ({ ...chargeFigures(charge) }),
      )
    case 'refund':
      return said(
        draft,
        refund(draft, { ...NOTES, walletId: rowWallet, chargeId: rowId, amount: action.amount }),
        ({ amount, charge }) => ({
          amount,
          refunded: charge.refunded,
        }),
      )
    case 'adjust':
      return said(draft, adjust(draft, { ...NOTES, walletId: action.wallet, amount: action.amount, reason: 'test' }), () => ({}))
    case 'configure': {
      const outcome = configure(draft, action.wallet, { overdraftLimit: action.overdraftLimit }, 'test')
      return said(draft, outcome.ok ? { ok: true, value: { wallet: outcome.value } } : outcome, ({ wallet }) => ({
        limit: wallet.overdraftLimit,
      }))
    }
    case 'status': {
      const outcome = setStatus(draft, action.wallet, action.status, 'test')
      return said(draft, outcome.ok ? { ok: true, value: { wallet: outcome.value } } : outcome, ({ wallet }) => ({ status: wallet.status }))
    }
  }
}

function chargeFigures(charge: { cost: bigint; captured: bigint; overage: bigint; uncollected: bigint; final: boolean; late: boolean }) {
  const { cost, captured, overage, uncollected, final, late } = charge
  return { cost, captured, overage, uncollected, final, late }
}

function walletFigures(wallet: Wallet) {
  return {
    version: wallet.version,
    balance: wallet.balance,
    held: wallet.held,
    available: wallet.balance - wallet.held,
    debt: wallet.debt,
  }
}

function said<T extends { wallet: Wallet }>(
  draft: Draft,
  outcome: Outcome<T>,
  figures: (value: T) => Record<string, unknown>,
  effectId?: string,
): Decision {
  if (!outcome.ok) return outcome
  const { wallet } = outcome.value
  return {
    ok: true,
    status: 200,
    effectId: effectId ?? draft.commandId,
    walletId: wallet.id,
    body: flat({ ...figures(outcome.value), ...walletFigures(wallet) }),
  }
}

/** Keys sorted, amounts as text, so that equal answers are equal texts. */
function flat(figures: Record<string, unknown>): Record<string, unknown> {
  const sorted: Record<string, unknown> = {}
  for (const key of Object.keys(figures).sort()) {
    const value = figures[key]
    sorted[key] = typeof value === 'bigint' ? value.toString() : typeof value === 'number' ? String(value) : value
  }
  return sorted
}

/** What a caller compares: the code, the figures and whether it was a replay. */
export function readAnswer(answer: Answer): string {
  if (answer.status < 300) return `ok ${answer.body}${answer.replayed ? ' again' : ''}`
  const { code, figures } = JSON.parse(answer.body)
  const { available, held, required } = figures
  return `${code} ${code === 'insufficient_credits' ? JSON.stringify({ available, held, required }) : '{}'}${answer.replayed ? ' again' : ''}`
}

/** The oracle's answer in the same form. */
export function expectedAnswer(answer: OAnswer, clock: Clock): string {
  let { figures } = answer
  if (answer.code === 'insufficient_credits')
    figures = Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, inCredits(value as bigint)]))
  if ('lifetime' in figures && clock !== SAME_CLOCK) figures = { ...figures, lifetime: null }
  // One-shot charges do not tell how much of the overage is debt; the wallet's own debt does.
  if ('debtAdded' in figures && !('holdStatus' in figures)) {
    const { debtAdded: _, ...rest } = figures
    figures = rest
  }
  return `${answer.code} ${JSON.stringify(flat({ ...figures }))}${answer.replayed ? ' again' : ''}`
}

function inCredits(micro: bigint): string {
  const digits = (micro < 0n ? -micro : micro).toString().padStart(7, '0')
  const text = `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, '')
  return micro < 0n ? `-${text}` : text
}

export function show(command: OCommand): string {
  const { action, client, everyClient, key } = command
  return JSON.stringify({ id: command.id.slice(0, 8), as: everyClient ? 'admin' : client.slice(0, 8), key, ...action }, (_, value) =>
    typeof value === 'bigint' ? `${value}n` : value,
  )
}
