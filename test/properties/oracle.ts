import {
  exactCost,
  modelNamed,
  modelTerms,
  type OPrices,
  type OTerms,
  type OTier,
  type OUsage,
  operationTerms,
  policyOf,
  rounded,
  Unpriced,
} from './price-oracle.ts'

/**
 * The oracle: what Farebox ought to answer, written from DESIGN §4–5 and src/ledger/README.md alone. It shares no code with
 * `src`: a wallet is a plain array of lots, balance and held are summed up anew whenever they are asked for, there are no batches
 * and no drafts, and a refused command is undone by putting back a copy.
 */

const BALANCE_MAX = 9_000_000_000_000_000_000n
/** What nobody may force. */
const AMOUNT_MAX = 1_000_000_000_000_000_000n
const LIVE_LOTS_MAX = 1_000
const WEEK_MS = 7 * 24 * 3600 * 1000
const WHOLE_PPM = 1_000_000n

export interface OWork {
  readonly amount?: undefined
  readonly operation: string | null
  readonly units: number | null
  readonly model: string | null
  readonly provider: string | null
  readonly usage: OUsage | null
}

export type OCost = { readonly amount: bigint } | (OWork & { readonly serviceTier: OTier })
/** Model, operation and tier are null for those that were reserved. */
export type OActual = { readonly amount: bigint } | (OWork & { readonly serviceTier: OTier | null; readonly usageTotal: OUsage | null })

export interface OPayee {
  readonly wallet: string | undefined
  readonly ppm: bigint
}

/** What a command asks for. Wallets, lots, holds and charges are named by ids that may lead nowhere. */
export type Action =
  | {
      readonly verb: 'grant'
      readonly wallet: string | undefined
      readonly kind: 'bonus' | 'purchase' | 'adjustment'
      readonly amount: bigint
      readonly priority: number | null
      readonly effectiveAt: number | null
      readonly expiresAt: number | null
    }
  | { readonly verb: 'void'; readonly wallet: string | undefined; readonly born: string }
  | {
      readonly verb: 'reserve'
      readonly wallet: string | undefined
      readonly cost: OCost
      readonly ttlSeconds: number
      readonly partial: boolean
      readonly resourceOwner: string | null
    }
  | {
      readonly verb: 'commit'
      readonly hold: string
      readonly cost: OActual
      readonly final: boolean
      readonly payees: readonly OPayee[]
      readonly force: boolean
    }
  | { readonly verb: 'release'; readonly hold: string }
  | { readonly verb: 'extend'; readonly hold: string; readonly ttlSeconds: number | null; readonly addAmount: bigint }
  | { readonly verb: 'expire'; readonly hold: string }
  | {
      readonly verb: 'charge'
      readonly wallet: string | undefined
      readonly cost: OCost
      readonly resourceOwner: string | null
      readonly payees: readonly OPayee[]
      readonly force: boolean
      readonly shortfall: 'refuse' | 'record'
    }
  | { readonly verb: 'refund'; readonly charge: string; readonly amount: bigint | null }
  | { readonly verb: 'adjust'; readonly wallet: string | undefined; readonly amount: bigint }
  | { readonly verb: 'configure'; readonly wallet: string | undefined; readonly overdraftLimit: bigint }
  | { readonly verb: 'status'; readonly wallet: string | undefined; readonly status: 'active' | 'frozen' | 'closed' }

export interface OCommand {
  readonly id: string
  readonly client: string
  readonly everyClient: boolean
  /** Null: a job, which has no key. */
  readonly key: string | null
  readonly fingerprint: string
  readonly action: Action
}

/** An answer in comparable form: a status code name, the figures, and whether it is a replay. Amounts are micro-credits as text. */
export interface OAnswer {
  readonly code: string
  readonly figures: Readonly<Record<string, unknown>>
  readonly replayed: boolean
}

export interface Lot {
  /** The command that made it. One command makes at most one lot in a wallet, so this is its name there. */
  readonly born: string
  readonly kind: string
  amount: bigint
  remaining: bigint
  held: bigint
  readonly priority: number
  readonly effectiveAt: number
  readonly expiresAt: number | null
  posted: boolean
  voided: boolean
  readonly createdAt: number
}

interface Part {
  readonly born: string
  amount: bigint
}

export interface Hold {
  readonly id: string
  status: 'held' | 'committed' | 'released' | 'expired'
  requested: bigint
  amount: bigint
  captured: bigint
  released: bigint
  cost: bigint
  pins: Part[]
  readonly terms: OTerms
  readonly tier: OTier
  readonly exempt: boolean
  /** The largest counts of cumulative usage so far. */
  seen: OUsage | null
  expiresAt: number
  readonly createdAt: number
}

export interface OCharge {
  readonly id: string
  readonly hold: string | null
  readonly cost: bigint
  readonly captured: bigint
  readonly overage: bigint
  readonly uncollected: bigint
  refunded: bigint
  readonly draws: readonly Part[]
  readonly final: boolean
  readonly late: boolean
}

export interface OWallet {
  readonly id: string
  readonly client: string
  readonly owner: string
  status: 'active' | 'frozen' | 'closed'
  limit: bigint
  debt: bigint
  version: number
  lots: Lot[]
  holds: Hold[]
  charges: OCharge[]
  /** Sums of the ledger rows by "kind counter-account". */
  ledger: Map<string, bigint>
  rows: number
}

class Refused extends Error {
  readonly code: string
  readonly figures: Record<string, unknown>
  constructor(code: string, figures: Record<string, unknown> = {}) {
    super(code)
    this.code = code
    this.figures = figures
  }
}

export function balanceOf(wallet: OWallet): bigint {
  let total = -wallet.debt
  for (const lot of wallet.lots) total += lot.remaining
  return total
}

export function heldOf(wallet: OWallet): bigint {
  let total = 0n
  for (const lot of wallet.lots) total += lot.held
  return total
}

export function availableOf(wallet: OWallet): bigint {
  return balanceOf(wallet) - heldOf(wallet)
}

/** Nothing is left of it and nothing will come. */
export function isSpent(lot: Lot): boolean {
  return (lot.posted || lot.voided) && lot.remaining === 0n
}

function gone(lot: Lot, now: number): boolean {
  return lot.voided || (lot.expiresAt !== null && lot.expiresAt <= now)
}

function burnsBefore(a: Lot, b: Lot): boolean {
  if (a.priority !== b.priority) return a.priority < b.priority
  const ea = a.expiresAt ?? Number.POSITIVE_INFINITY
  const eb = b.expiresAt ?? Number.POSITIVE_INFINITY
  if (ea !== eb) return ea < eb
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt
  return a.born < b.born
}

/** Of the lots with free credits, the one that burns first. */
function first(lots: readonly Lot[]): Lot | undefined {
  let best: Lot | undefined
  for (const lot of lots) {
    if (lot.posted && lot.remaining > lot.held && (!best || burnsBefore(lot, best))) best = lot
  }
  return best
}

function originOf(kind: string): string {
  const origins: Record<string, string> = {
    bonus: 'promotions',
    purchase: 'purchases',
    adjustment: 'adjustments',
    refund: 'revenue',
    earning: 'revenue',
  }
  return origins[kind] as string
}

function copyWallet(wallet: OWallet): OWallet {
  return {
    ...wallet,
    lots: wallet.lots.map((lot) => ({ ...lot })),
    holds: wallet.holds.map((hold) => ({ ...hold, pins: hold.pins.map((pin) => ({ ...pin })) })),
    charges: wallet.charges.map((charge) => ({ ...charge })),
    ledger: new Map(wallet.ledger),
  }
}

export class Oracle {
  now: number
  readonly prices: OPrices
  wallets = new Map<string, OWallet>()
  /** Ids of holds and charges to their wallets. */
  readonly #holdWallet = new Map<string, string>()
  readonly #chargeWallet = new Map<string, string>()
  readonly #answers = new Map<string, { fingerprint: string; code: string; figures: Readonly<Record<string, unknown>> }>()
  #command!: OCommand
  /** What was special about the prices of the last command, for the histograms. */
  notes = new Set<string>()

  constructor(now: number, prices: OPrices) {
    this.now = now
    this.prices = prices
  }

  open(id: string, client: string, owner: string): void {
    this.wallets.set(id, {
      id,
      client,
      owner,
      status: 'active',
      limit: 0n,
      debt: 0n,
      version: 1,
      lots: [],
      holds: [],
      charges: [],
      ledger: new Map(),
      rows: 0,
    })
  }

  holdById(id: string): { wallet: OWallet; hold: Hold } | undefined {
    const wallet = this.wallets.get(this.#holdWallet.get(id) ?? '')
    const hold = wallet?.holds.find((each) => each.id === id)
    return wallet && hold ? { wallet, hold } : undefined
  }

  chargeById(id: string): { wallet: OWallet; charge: OCharge } | undefined {
    const wallet = this.wallets.get(this.#chargeWallet.get(id) ?? '')
    const charge = wallet?.charges.find((each) => each.id === id)
    return wallet && charge ? { wallet, charge } : undefined
  }

  run(command: OCommand): OAnswer {
    const recordName = command.key === null ? null : `${command.client}/${command.action.verb}/${command.key}`
    const record = recordName === null ? undefined : this.#answers.get(recordName)
    if (record) {
      if (record.fingerprint !== command.fingerprint) return { code: 'idempotency_key_reused', figures: {}, replayed: false }
      return { code: record.code, figures: record.figures, replayed: true }
    }

    this.#command = command
    this.notes = new Set()
    const before = this.wallets
    // Only wallets that the command touches are copied, when it first touches them.
    this.wallets = new Map(before)
    let code = 'ok'
    let figures: Record<string, unknown>
    try {
      const { wallet, ...rest } = this.#act(command.action)
      for (const [id, after] of this.wallets) {
        const old = before.get(id) as OWallet
        if (after !== old && visibleChange(old, after)) after.version += 1
      }
      figures = { ...rest, ...(wallet ? figuresOf(wallet) : {}) }
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unpriced)) throw error
      this.wallets = before
      code = error.code
      figures = error instanceof Refused ? error.figures : {}
    }
    if (recordName !== null) this.#answers.set(recordName, { fingerprint: command.fingerprint, code, figures })
    return { code, figures, replayed: false }
  }

  /** The wallet for writing, when the speaker may reach it. */
  #reach(id: string | undefined): OWallet | undefined {
    const wallet = id === undefined ? undefined : this.wallets.get(id)
    if (!wallet) return undefined
    if (wallet.client !== this.#command.client && !this.#command.everyClient) return undefined
    return this.#writable(wallet.id)
  }

  readonly #fresh = new WeakMap<OWallet, OCommand>()
  #writable(id: string): OWallet {
    const wallet = this.wallets.get(id) as OWallet
    if (this.#fresh.get(wallet) === this.#command) return wallet
    const copy = copyWallet(wallet)
    this.#fresh.set(copy, this.#command)
    this.wallets.set(id, copy)
    return copy
  }

  #act(action: Action): Record<string, unknown> & { wallet?: OWallet } {
    switch (action.verb) {
      case 'grant':
        return this.#grant(action)
      case 'void':
        return this.#void(action)
      case 'reserve':
        return this.#reserve(action)
      case 'commit':
        return this.#commit(action)
      case 'release':
        return this.#release(action)
      case 'extend':
        return this.#extend(action)
      case 'expire':
        return this.#expire(action)
      case 'charge':
        return this.#charge(action)
      case 'refund':
        return this.#refund(action)
      case 'adjust':
        return this.#adjust(action)
      case 'configure':
        return this.#configure(action)
      case 'status':
        return this.#status(action)
    }
  }

  // Movements.

  #row(wallet: OWallet, kind: string, counter: string, amount: bigint): void {
    if (amount === 0n) return
    const name = `${kind} ${counter}`
    wallet.ledger.set(name, (wallet.ledger.get(name) ?? 0n) + amount)
    wallet.rows += 1
  }

  /** What time has brought about since the wallet was last looked at. */
  #settle(wallet: OWallet): void {
    this.#leave(wallet)
    for (const lot of wallet.lots) {
      if (!lot.posted && !lot.voided && lot.effectiveAt <= this.now) {
        lot.posted = true
        lot.remaining = lot.amount
        this.#row(wallet, 'grant', originOf(lot.kind), lot.amount)
      }
    }
    // What was posted just now repays even if it is over already: it counted from its time on.
    this.#repay(wallet)
    this.#leave(wallet)
  }

  /** What is over goes, as far as no hold has it. */
  #leave(wallet: OWallet): void {
    for (const lot of wallet.lots) {
      const loose = lot.remaining - lot.held
      if (loose === 0n || !gone(lot, this.now)) continue
      lot.remaining -= loose
      if (lot.voided) this.#row(wallet, 'void', originOf(lot.kind), -loose)
      else this.#row(wallet, 'expire', 'expired', -loose)
    }
  }

  /** Free credits pay back debt; no ledger row. */
  #repay(wallet: OWallet): void {
    while (wallet.debt > 0n) {
      const lot = first(wallet.lots)
      if (!lot) return
      const loose = lot.remaining - lot.held
      const paid = loose < wallet.debt ? loose : wallet.debt
      lot.remaining -= paid
      wallet.debt -= paid
    }
  }

  /** The lot that burns next. */
  #next(wallet: OWallet): Lot | undefined {
    return first(wallet.lots.filter((lot) => !gone(lot, this.now)))
  }

  #takeFree(wallet: OWallet, amount: bigint): Part[] {
    const parts: Part[] = []
    let left = amount
    while (left > 0n) {
      const lot = this.#next(wallet)
      if (!lot) throw new Error('oracle: more taken than is free')
      const loose = lot.remaining - lot.held
      const part = loose < left ? loose : left
      lot.remaining -= part
      left -= part
      parts.push({ born: lot.born, amount: part })
    }
    return parts
  }

  #pin(wallet: OWallet, amount: bigint): Part[] {
    const parts: Part[] = []
    let left = amount
    while (left > 0n) {
      const lot = this.#next(wallet)
      if (!lot) throw new Error('oracle: more pinned than is free')
      const loose = lot.remaining - lot.held
      const part = loose < left ? loose : left
      lot.held += part
      left -= part
      parts.push({ born: lot.born, amount: part })
    }
    return parts
  }

  #lot(wallet: OWallet, born: string): Lot {
    return wallet.lots.find((lot) => lot.born === born) as Lot
  }

  #unpin(wallet: OWallet, hold: Hold): bigint {
    let freed = 0n
    for (const pin of hold.pins) {
      this.#lot(wallet, pin.born).held -= pin.amount
      freed += pin.amount
    }
    hold.pins = []
    hold.released += freed
    return freed
  }

  #newLot(wallet: OWallet, lot: Pick<Lot, 'kind' | 'amount'> & Partial<Lot>): Lot {
    const expiresAt = lot.expiresAt ?? null
    const usual = lot.kind === 'bonus' ? 10 : expiresAt !== null ? 20 : lot.kind === 'adjustment' ? 30 : 50
    const made: Lot = {
      born: this.#command.id,
      kind: lot.kind,
      amount: lot.amount,
      remaining: lot.posted === false ? 0n : lot.amount,
      held: 0n,
      priority: lot.priority ?? usual,
      effectiveAt: lot.effectiveAt ?? this.now,
      expiresAt,
      posted: lot.posted ?? true,
      voided: false,
      createdAt: this.now,
    }
    wallet.lots.push(made)
    return made
  }

  #checkRoom(wallet: OWallet, amount: bigint): void {
    if (wallet.lots.filter((lot) => !isSpent(lot)).length >= LIVE_LOTS_MAX) throw new Refused('too_many_grants')
    this.#checkBalance(wallet, amount)
  }

  /** Scheduled credits count: their time cannot be refused. */
  #checkBalance(wallet: OWallet, amount: bigint): void {
    let promised = 0n
    for (const lot of wallet.lots) if (!lot.posted && !lot.voided) promised += lot.amount
    if (balanceOf(wallet) + promised + amount > BALANCE_MAX) throw new Refused('balance_limit_exceeded')
  }

  // Prices.

  /** Cost and terms of a request as of now, the minimum applied to the whole. */
  #quote(cost: OCost, owner: string | null, wallet: OWallet): { terms: OTerms; required: bigint; exempt: boolean } {
    const policy = policyOf(this.prices, this.now)
    const exempt = owner === wallet.owner && policy.ownerExempt
    if (owner === wallet.owner && !exempt) this.notes.add('owner not exempt')
    if (cost.amount !== undefined) return { terms: { policy, model: null, operation: null }, required: exempt ? 0n : cost.amount, exempt }
    const terms: OTerms = {
      policy,
      model: cost.model === null ? null : modelTerms(this.prices, this.now, cost.model, cost.provider),
      operation: cost.operation === null ? null : operationTerms(this.prices, this.now, cost.operation),
    }
    if (cost.model !== null && cost.model !== terms.model?.price.model) this.notes.add('another name of a model')
    const exact = exactCost(terms, { usage: cost.usage, units: cost.units, tier: cost.serviceTier, last: true }, this.notes)
    return { terms, required: exempt ? 0n : this.#rounded(exact, terms, exact > 0n ? policy.minimum : 0n), exempt }
  }

  #rounded(exact: bigint, { policy }: OTerms, minimum: bigint): bigint {
    const cost = rounded(exact, policy.roundTo, minimum)
    if (policy.roundTo > 1n && cost !== rounded(exact, 1n, minimum)) this.notes.add('rounded to a multiple')
    return cost
  }

  /** What a commit is priced at: what was reserved at its frozen price, anything else as of the reservation's creation. */
  #termsOf(hold: Hold, said: OWork): OTerms {
    const { createdAt } = hold
    let { model, operation } = hold.terms
    if (said.model !== null) {
      const reserved = model?.price
      const meant = reserved && modelNamed(this.prices, createdAt, said.model, said.provider ?? reserved.provider)
      if (reserved && meant?.model === reserved.model) {
        if (said.model !== reserved.model) this.notes.add('reserved model by another name')
      } else {
        model = modelTerms(this.prices, createdAt, said.model, said.provider)
        this.notes.add(reserved ? 'another model than reserved' : 'a model where none was reserved')
      }
    }
    if (said.operation !== null && said.operation !== operation?.operation) {
      operation = operationTerms(this.prices, createdAt, said.operation)
    }
    return { ...hold.terms, model, operation }
  }

  // Commands.

  #grant(action: Extract<Action, { verb: 'grant' }>) {
    const wallet = this.#reach(action.wallet)
    if (!wallet) throw new Refused('wallet_not_found')
    if (wallet.status === 'closed') throw new Refused('wallet_closed')
    this.#settle(wallet)
    const effectiveAt = action.effectiveAt ?? this.now
    const start = effectiveAt > this.now ? effectiveAt : this.now
    if (action.expiresAt !== null && action.expiresAt <= start) throw new Refused('grant_times_invalid')
    this.#checkRoom(wallet, action.amount)
    const posted = effectiveAt <= this.now
    const lot = this.#newLot(wallet, {
      kind: action.kind,
      amount: action.amount,
      ...(action.priority === null ? {} : { priority: action.priority }),
      effectiveAt,
      expiresAt: action.expiresAt,
      posted,
    })
    if (posted) this.#row(wallet, 'grant', originOf(lot.kind), lot.amount)
    this.#settle(wallet)
    return { wallet, remaining: lot.remaining, scheduled: !posted, priority: lot.priority }
  }

  #void(action: Extract<Action, { verb: 'void' }>) {
    const wallet = this.#reach(action.wallet)
    const lot = wallet?.lots.find((each) => each.born === action.born)
    if (!wallet || !lot) throw new Refused('grant_not_found')
    this.#settle(wallet)
    if (lot.voided) throw new Refused('grant_voided')
    if (isSpent(lot)) throw new Refused('grant_spent')
    lot.voided = true
    this.#settle(wallet)
    return { wallet, remaining: lot.remaining }
  }

  #reserve(action: Extract<Action, { verb: 'reserve' }>) {
    const wallet = this.#reach(action.wallet)
    if (!wallet) throw new Refused('wallet_not_found')
    if (wallet.status === 'frozen') throw new Refused('wallet_frozen')
    if (wallet.status === 'closed') throw new Refused('wallet_closed')
    this.#settle(wallet)
    const { terms, required, exempt } = this.#quote(action.cost, action.resourceOwner, wallet)
    if (required > terms.policy.maximum) throw new Refused('charge_exceeds_maximum')
    const free = availableOf(wallet)
    let amount = required
    // A hold of nothing needs nothing, in debt or not.
    if (required > free && required > 0n) {
      if (!action.partial || free <= 0n) throw this.#insufficient(wallet, required)
      amount = free
    }
    const hold: Hold = {
      id: this.#command.id,
      status: 'held',
      requested: required,
      amount,
      captured: 0n,
      released: 0n,
      cost: 0n,
      pins: this.#pin(wallet, amount),
      terms,
      tier: action.cost.amount === undefined ? action.cost.serviceTier : 'standard',
      exempt,
      seen: null,
      expiresAt: this.now + action.ttlSeconds * 1000,
      createdAt: this.now,
    }
    wallet.holds.push(hold)
    this.#holdWallet.set(hold.id, wallet.id)
    return { wallet, requested: required, amount }
  }

  #insufficient(wallet: OWallet, required: bigint): Refused {
    return new Refused('insufficient_credits', { available: availableOf(wallet), required, held: heldOf(wallet) })
  }

  #find(id: string): { wallet: OWallet; hold: Hold } {
    const wallet = this.#reach(this.#holdWallet.get(id))
    const hold = wallet?.holds.find((each) => each.id === id)
    if (!wallet || !hold) throw new Refused('reservation_not_found')
    return { wallet, hold }
  }

  #payees(payer: OWallet, payees: readonly OPayee[]): { wallet: OWallet; ppm: bigint }[] {
    let shares = 0n
    const found = payees.map(({ wallet: id, ppm }) => {
      const wallet = this.#reach(id)
      if (!wallet) throw new Refused('payee_not_found')
      if (wallet.status === 'closed') throw new Refused('payee_closed')
      if (wallet === payer) throw new Refused('payee_is_payer')
      shares += ppm
      return { wallet, ppm }
    })
    if (shares > WHOLE_PPM) throw new Refused('payee_share_exceeds_whole')
    return found
  }

  #commit(action: Extract<Action, { verb: 'commit' }>) {
    const { wallet, hold } = this.#find(action.hold)
    const payees = this.#payees(wallet, action.payees)
    if (hold.status === 'committed') throw new Refused('reservation_committed')
    if (hold.status === 'released') throw new Refused('reservation_released')
    this.#settle(wallet)
    const late = hold.status === 'expired' || hold.expiresAt <= this.now
    if (hold.status === 'held' && late) {
      hold.status = 'expired'
      this.#unpin(wallet, hold)
      this.#settle(wallet)
    }

    const { cost: said } = action
    let cost: bigint
    if (said.amount !== undefined) {
      cost = said.amount
    } else {
      const terms = this.#termsOf(hold, said)
      const since = said.usageTotal && hold.seen
      let usage = said.usage
      if (said.usageTotal) {
        usage = byPool(said.usageTotal, hold.seen, (count, seen) => (count > seen ? count - seen : 0))
        hold.seen = byPool(said.usageTotal, hold.seen, (count, seen) => (count > seen ? count : seen))
        this.notes.add('cumulative usage')
      }
      if ((usage && !terms.model) || (said.units !== null && !terms.operation) || (!usage && said.units === null)) {
        throw new Refused('usage_mismatch')
      }
      const work = { usage, units: said.units, tier: said.serviceTier ?? hold.tier, since, last: action.final }
      const exact = exactCost(terms, work, this.notes)
      const due = action.final && (exact > 0n || hold.cost > 0n) ? terms.policy.minimum - hold.cost : 0n
      cost = this.#rounded(exact, terms, due > 0n ? due : 0n)
    }
    if (hold.exempt) cost = 0n
    if (!action.force || cost > AMOUNT_MAX) {
      if (hold.cost + cost > 10n * hold.requested) throw new Refused('commit_exceeds_hold_factor')
      if (cost > hold.terms.policy.maximum) throw new Refused('charge_exceeds_maximum')
    }
    if (hold.cost + cost > BALANCE_MAX) throw new Refused('charge_exceeds_maximum')
    const { charge, debtAdded } = this.#collect(wallet, cost, { hold, payees, final: action.final, late })
    let released = 0n
    if (action.final) {
      released = this.#unpin(wallet, hold)
      hold.status = 'committed'
      this.#settle(wallet)
    }
    return { wallet, ...chargeFigures(charge), debtAdded, released, holdStatus: hold.status, holdCost: hold.cost }
  }

  /** Hold, free credits, debt, uncollected. */
  #collect(
    wallet: OWallet,
    cost: bigint,
    how: { hold: Hold | null; payees: { wallet: OWallet; ppm: bigint }[]; final: boolean; late: boolean },
  ): { charge: OCharge; debtAdded: bigint } {
    const draws: Part[] = []
    let left = cost
    let captured = 0n
    if (how.hold) {
      for (const pin of how.hold.pins) {
        const part = pin.amount < left ? pin.amount : left
        if (part === 0n) continue
        const lot = this.#lot(wallet, pin.born)
        lot.held -= part
        lot.remaining -= part
        pin.amount -= part
        captured += part
        left -= part
        draws.push({ born: pin.born, amount: part })
      }
      how.hold.pins = how.hold.pins.filter((pin) => pin.amount > 0n)
      how.hold.captured += captured
      how.hold.cost += cost
    }
    const free = availableOf(wallet) > 0n ? availableOf(wallet) : 0n
    const spent = free < left ? free : left
    draws.push(...this.#takeFree(wallet, spent))
    left -= spent
    const roomForDebt = wallet.limit > wallet.debt ? wallet.limit - wallet.debt : 0n
    const debtAdded = roomForDebt < left ? roomForDebt : left
    wallet.debt += debtAdded
    left -= debtAdded

    const overage = spent + debtAdded
    let earned = 0n
    for (const payee of how.payees) {
      const amount = ((captured + overage) * payee.ppm) / WHOLE_PPM
      earned += amount
      this.#earn(payee.wallet, amount)
    }
    this.#row(wallet, 'charge', 'revenue', earned - cost)
    this.#row(wallet, 'charge', 'clearing', -earned)
    this.#row(wallet, 'uncollected', 'uncollected', left)
    const charge: OCharge = {
      id: this.#command.id,
      hold: how.hold?.id ?? null,
      cost,
      captured,
      overage,
      uncollected: left,
      refunded: 0n,
      draws,
      final: how.final,
      late: how.late,
    }
    wallet.charges.push(charge)
    this.#chargeWallet.set(charge.id, wallet.id)
    return { charge, debtAdded }
  }

  /** Adds to the payee's rolling grant, which is a new one when the last is used up. */
  #earn(wallet: OWallet, amount: bigint): void {
    if (amount === 0n) return
    this.#settle(wallet)
    this.#checkBalance(wallet, amount)
    // A refund may have brought an older one back to life: then the one that burns first rolls on.
    let rolling: Lot | undefined
    for (const lot of wallet.lots) {
      if (lot.kind === 'earning' && !lot.voided && !isSpent(lot) && (!rolling || burnsBefore(lot, rolling))) rolling = lot
    }
    if (rolling) {
      rolling.amount += amount
      rolling.remaining += amount
    } else {
      this.#newLot(wallet, { kind: 'earning', amount })
    }
    this.#row(wallet, 'earning', 'clearing', amount)
    this.#settle(wallet)
  }

  #release(action: Extract<Action, { verb: 'release' }>) {
    const { wallet, hold } = this.#find(action.hold)
    this.#settle(wallet)
    this.#mustBeOpen(hold)
    this.#unpin(wallet, hold)
    hold.status = 'released'
    this.#settle(wallet)
    return { wallet, released: hold.released, captured: hold.captured }
  }

  #mustBeOpen(hold: Hold): void {
    if (hold.status === 'committed') throw new Refused('reservation_committed')
    if (hold.status === 'released') throw new Refused('reservation_released')
    if (hold.status === 'expired' || hold.expiresAt <= this.now) throw new Refused('reservation_expired')
  }

  #extend(action: Extract<Action, { verb: 'extend' }>) {
    const { wallet, hold } = this.#find(action.hold)
    if (action.addAmount > 0n && wallet.status === 'frozen') throw new Refused('wallet_frozen')
    this.#mustBeOpen(hold)
    this.#settle(wallet)
    const asked = action.ttlSeconds === null ? hold.expiresAt : this.now + action.ttlSeconds * 1000
    const deadline = asked > hold.expiresAt ? asked : hold.expiresAt
    if (deadline > hold.createdAt + WEEK_MS) throw new Refused('reservation_deadline_too_far')
    if (action.addAmount > 0n) {
      if (hold.requested + action.addAmount > hold.terms.policy.maximum) throw new Refused('charge_exceeds_maximum')
      if (action.addAmount > availableOf(wallet)) throw this.#insufficient(wallet, action.addAmount)
      hold.pins.push(...this.#pin(wallet, action.addAmount))
      hold.amount += action.addAmount
      hold.requested += action.addAmount
    }
    hold.expiresAt = deadline
    return { wallet, amount: hold.amount, requested: hold.requested, lifetime: hold.expiresAt - hold.createdAt }
  }

  #expire(action: Extract<Action, { verb: 'expire' }>) {
    const id = this.#holdWallet.get(action.hold)
    const wallet = id === undefined ? undefined : this.#writable(id)
    const hold = wallet?.holds.find((each) => each.id === action.hold)
    if (!wallet || !hold) return { ended: false }
    if (hold.status !== 'held' || hold.expiresAt > this.now) return { ended: false }
    hold.status = 'expired'
    this.#unpin(wallet, hold)
    this.#settle(wallet)
    return { wallet, ended: true }
  }

  #charge(action: Extract<Action, { verb: 'charge' }>) {
    const wallet = this.#reach(action.wallet)
    if (!wallet) throw new Refused('wallet_not_found')
    if (wallet.status === 'closed') throw new Refused('wallet_closed')
    if (wallet.status === 'frozen' && action.shortfall === 'refuse') throw new Refused('wallet_frozen')
    const payees = this.#payees(wallet, action.payees)
    this.#settle(wallet)
    const { terms, required } = this.#quote(action.cost, action.resourceOwner, wallet)
    if (required > terms.policy.maximum && !(action.force && required <= AMOUNT_MAX)) throw new Refused('charge_exceeds_maximum')
    if (action.shortfall === 'refuse' && required > 0n && required > availableOf(wallet) + wallet.limit) {
      throw this.#insufficient(wallet, required)
    }
    const { charge, debtAdded } = this.#collect(wallet, required, { hold: null, payees, final: true, late: false })
    return { wallet, ...chargeFigures(charge), debtAdded }
  }

  #refund(action: Extract<Action, { verb: 'refund' }>) {
    const wallet = this.#reach(this.#chargeWallet.get(action.charge))
    const charge = wallet?.charges.find((each) => each.id === action.charge)
    if (!wallet || !charge) throw new Refused('charge_not_found')
    if (wallet.status === 'closed') throw new Refused('wallet_closed')
    const collected = charge.captured + charge.overage
    if (collected === 0n) throw new Refused('charge_free')
    const open = collected - charge.refunded
    if (open === 0n) throw new Refused('charge_refunded')
    const amount = action.amount ?? open
    if (amount > open) throw new Refused('refund_exceeds_charge')
    this.#settle(wallet)
    this.#checkBalance(wallet, amount)

    // The charge backwards: what had gone into debt, then its draws from the last to the first.
    let drawn = 0n
    for (const draw of charge.draws) drawn += draw.amount
    const backwards: { born: string | null; amount: bigint }[] = [
      { born: null, amount: collected - drawn },
      ...charge.draws.toReversed().map((draw) => ({ ...draw })),
    ]
    let skip = charge.refunded
    let left = amount
    let fresh = 0n
    for (const part of backwards) {
      const skipped = skip < part.amount ? skip : part.amount
      skip -= skipped
      const rest = part.amount - skipped
      const back = rest < left ? rest : left
      left -= back
      const lot = part.born === null ? undefined : this.#lot(wallet, part.born)
      if (lot && !gone(lot, this.now)) lot.remaining += back
      else fresh += back
    }
    if (fresh > 0n) this.#newLot(wallet, { kind: 'refund', amount: fresh })
    charge.refunded += amount
    this.#row(wallet, 'refund', 'revenue', amount)
    this.#settle(wallet)
    return { wallet, amount, refunded: charge.refunded }
  }

  #adjust(action: Extract<Action, { verb: 'adjust' }>) {
    const wallet = this.#reach(action.wallet)
    if (!wallet) throw new Refused('wallet_not_found')
    if (wallet.status === 'closed') throw new Refused('wallet_closed')
    this.#settle(wallet)
    if (action.amount > 0n) {
      this.#checkRoom(wallet, action.amount)
      this.#newLot(wallet, { kind: 'adjustment', amount: action.amount })
    } else {
      if (-action.amount > availableOf(wallet)) throw this.#insufficient(wallet, -action.amount)
      this.#takeFree(wallet, -action.amount)
    }
    this.#row(wallet, 'adjust', 'adjustments', action.amount)
    this.#settle(wallet)
    return { wallet }
  }

  #configure(action: Extract<Action, { verb: 'configure' }>) {
    const wallet = this.#reach(action.wallet)
    if (!wallet) throw new Refused('wallet_not_found')
    if (wallet.status === 'closed') throw new Refused('wallet_closed')
    this.#settle(wallet)
    if (action.overdraftLimit < wallet.debt) throw new Refused('overdraft_limit_below_debt')
    wallet.limit = action.overdraftLimit
    return { wallet, limit: wallet.limit }
  }

  #status(action: Extract<Action, { verb: 'status' }>) {
    const wallet = this.#reach(action.wallet)
    if (!wallet) throw new Refused('wallet_not_found')
    if (wallet.status === 'closed' && action.status !== 'closed') throw new Refused('wallet_closed')
    // What is as it should be is left alone.
    if (wallet.status === action.status) return { wallet, status: wallet.status }
    this.#settle(wallet)
    if (action.status === 'closed') {
      const empty = balanceOf(wallet) === 0n && heldOf(wallet) === 0n && wallet.debt === 0n && wallet.lots.every(isSpent)
      if (!empty) throw new Refused('wallet_not_empty')
    }
    wallet.status = action.status
    return { wallet, status: wallet.status }
  }
}

/** For every pool that either names. */
function byPool(total: OUsage, seen: OUsage | null, of: (count: number, seen: number) => number): OUsage {
  const result: Record<string, number> = {}
  for (const pool of new Set([...Object.keys(total), ...Object.keys(seen ?? {})])) result[pool] = of(total[pool] ?? 0, seen?.[pool] ?? 0)
  return result
}

function chargeFigures(charge: OCharge) {
  const { cost, captured, overage, uncollected, final, late } = charge
  return { cost, captured, overage, uncollected, final, late }
}

function figuresOf(wallet: OWallet) {
  return {
    version: wallet.version,
    balance: balanceOf(wallet),
    held: heldOf(wallet),
    available: availableOf(wallet),
    debt: wallet.debt,
  }
}

/** Whether a reader of the wallet's row could tell the two apart. */
function visibleChange(a: OWallet, b: OWallet): boolean {
  return (
    a.rows !== b.rows ||
    a.debt !== b.debt ||
    a.limit !== b.limit ||
    a.status !== b.status ||
    balanceOf(a) !== balanceOf(b) ||
    heldOf(a) !== heldOf(b)
  )
}
