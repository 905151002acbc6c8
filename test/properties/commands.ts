import { createHash } from 'node:crypto'
import fc from 'fast-check'
import {
  type Action,
  availableOf,
  balanceOf,
  isSpent,
  type OActual,
  type OCommand,
  type OCost,
  type OPayee,
  Oracle,
  type OWallet,
  type OWork,
} from './oracle.ts'
import { type OPrices, type ORates, type OTier, type OUsage, type OVariant, tokensOfPrompt } from './price-oracle.ts'

/**
 * Lists of commands. A raw command is a row of small numbers from fast-check, which shrinks well; what it means is settled
 * against the oracle's present state, so that amounts lie around balances, times around deadlines, and names mostly lead somewhere.
 */

export type Raw = readonly number[]
export interface RawList {
  readonly flavour: number
  readonly raws: readonly Raw[]
}

const PICKS = 12

const VERBS: readonly (readonly [string, number])[] = [
  ['reserve', 150],
  ['commit', 190],
  ['grant', 130],
  ['advance', 110],
  ['charge', 110],
  ['refund', 65],
  ['release', 45],
  ['extend', 55],
  ['expire', 40],
  ['configure', 35],
  ['adjust', 35],
  ['void', 35],
  ['status', 20],
  ['replay', 35],
  ['reuse', 15],
  ['price', 30],
]
const TICKETS = VERBS.reduce((total, [, weight]) => total + weight, 0)

function verbOf(raw: Raw): string {
  let ticket = raw[0] as number
  for (const [name, weight] of VERBS) {
    if (ticket < weight) return name
    ticket -= weight
  }
  return 'reserve'
}

/** @param length steps of a list; every number is as likely as another, the bias is in what is made of them */
export function rawLists(length: number): fc.Arbitrary<RawList> {
  const raw = fc.tuple(fc.nat(TICKETS - 1), ...Array.from({ length: PICKS }, () => fc.nat(9999)))
  const lists = fc.record({ flavour: fc.nat(99), raws: fc.array(raw as fc.Arbitrary<Raw>, { minLength: length, maxLength: length }) })
  return fc.noBias(lists)
}

/** Ids of one list's world. */
export interface World {
  readonly clientA: string
  readonly clientB: string
  readonly wallets: readonly { readonly id: string; readonly client: string; readonly ownerKind: string; readonly ownerId: string }[]
  readonly nowhere: string
  commandId(index: number): string
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0').slice(-digits)

/**
 * @param list distinguishes the ids of lists that share a database
 * @param ordered ids that rise with the index, as UUIDv7 do; otherwise they come in an order of their own, so that the burn order's last tie-break shows
 */
export function makeWorld(list: number, ordered: boolean, clientA?: string, clientB?: string): World {
  const group = `${hex(list >>> 12, 4)}-7${hex(list & 0xfff, 3)}`
  const id = (n: number, mark: string) => `${hex(n, 8)}-${group}-${mark}-000000000000`
  const a = clientA ?? id(1, '8aaa')
  const b = clientB ?? id(2, '8aaa')
  const wallet = (n: number, client: string, ownerKind: string, ownerId: string) => ({
    id: id(n, '8bbb'),
    client,
    ownerKind,
    ownerId: `${ownerId}${list}`,
  })
  return {
    clientA: a,
    clientB: b,
    wallets: [wallet(1, a, 'user', 'ann'), wallet(2, a, 'user', 'bea'), wallet(3, a, 'org', 'acme'), wallet(4, b, 'user', 'ann')],
    nowhere: id(9, '8fff'),
    commandId: (index) => id(ordered ? index : Math.imul(index + 1, 0x9e3779b1) >>> 0, '8ccc'),
  }
}

/** How coarse time is: milliseconds for `decide`, hours where the database's own clock runs on beside the list. */
export interface Grain {
  /** Commands happen at multiples of this. */
  readonly stepMs: number
  /** Deadlines, expiries and times of effect lie so far from those. */
  readonly offsetMs: number
}
export const FINE: Grain = { stepMs: 1_000, offsetMs: 0 }
export const COARSE: Grain = { stepMs: 3_600_000, offsetMs: 1_800_000 }

export type Step =
  | { readonly kind: 'command'; readonly now: number; readonly command: OCommand; readonly note: string }
  | { readonly kind: 'advance'; readonly now: number; readonly by: number }
  | { readonly kind: 'price'; readonly now: number; readonly what: string }

/** Turns raw commands into commands, one after the other, beside the oracle that has seen all before. */
export class Resolver {
  readonly world: World
  readonly oracle: Oracle
  readonly #grain: Grain
  readonly #huge: boolean
  readonly #spoken: OCommand[] = []
  #index = 0
  #raw: Raw = []
  #at = 0

  constructor(world: World, grain: Grain, flavour: number, start: number) {
    this.world = world
    this.#grain = grain
    this.#huge = flavour % 25 === 24
    this.oracle = new Oracle(start, startingPrices(flavour, start))
    for (const { id, client, ownerKind, ownerId } of world.wallets) this.oracle.open(id, client, `${ownerKind}:${ownerId}`)
  }

  /** The next step; a price or a move of the clock is already applied to the oracle, a command is not. */
  next(raw: Raw): Step {
    this.#raw = raw
    this.#at = 0
    let verb = verbOf(raw)
    const { oracle } = this
    if (verb === 'advance') {
      const by = this.#advance()
      oracle.now += by
      return { kind: 'advance', now: oracle.now, by }
    }
    if (verb === 'price') return this.#price()
    const old = this.#spoken.length > 0 ? this.#spoken[this.#spoken.length - 1 - this.#below(Math.min(this.#spoken.length, 40))] : undefined
    if (old && verb === 'replay') return this.#say({ ...old, id: this.world.commandId(this.#index) }, 'replay')
    if (old && verb === 'reuse') {
      const command = this.#command(this.#action(old.action.verb))
      return this.#say({ ...command, client: old.client, everyClient: old.everyClient, key: old.key }, 'reuse')
    }
    if (verb === 'replay' || verb === 'reuse' || this.#index < 5) verb = 'grant'
    // What there is nothing of yet is made first.
    const wallets = [...oracle.wallets.values()]
    if ((verb === 'commit' || verb === 'release' || verb === 'extend') && wallets.every((wallet) => wallet.holds.length === 0))
      verb = 'reserve'
    if (verb === 'refund' && wallets.every((wallet) => wallet.charges.length === 0)) verb = 'charge'
    return this.#say(this.#command(this.#action(verb as Action['verb'])), verb)
  }

  /** Whether this raw command would move the clock or the prices. */
  movesTime(raw: Raw): boolean {
    const verb = verbOf(raw)
    return verb === 'advance' || verb === 'price'
  }

  #say(command: OCommand, note: string): Step {
    this.#index += 1
    this.#spoken.push(command)
    return { kind: 'command', now: this.oracle.now, command, note }
  }

  #command(action: Action): OCommand {
    const { clientA, clientB } = this.world
    const target = this.oracle.wallets.get(('wallet' in action ? action.wallet : undefined) ?? '')
    const who = target?.client === clientB ? this.#below(5) : this.#below(100)
    const job = action.verb === 'expire'
    return {
      id: this.world.commandId(this.#index),
      client: job ? '' : who < 3 ? clientB : clientA,
      everyClient: job || who >= 95,
      key: job ? null : `k${this.#index}`,
      fingerprint: createHash('sha256')
        .update(JSON.stringify(action, (_, value) => (typeof value === 'bigint' ? `${value}n` : value)))
        .digest('hex'),
      action,
    }
  }

  // Picks: each takes the next number of the raw command; after the last they begin again, another part of each.

  #number(): number {
    const value = this.#raw[1 + (this.#at % PICKS)] ?? 0
    const round = Math.floor(this.#at / PICKS)
    this.#at += 1
    return round === 0 ? value : Math.floor(value / (7 * round)) + value * round
  }

  #below(n: number): number {
    return this.#number() % n
  }

  #oneOf<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T
  }

  #wallet(): string | undefined {
    const n = this.#below(100)
    const { wallets, nowhere } = this.world
    if (n < 60) return wallets[0]?.id
    if (n < 82) return wallets[1]?.id
    if (n < 93) return wallets[2]?.id
    if (n < 97) return wallets[3]?.id
    return n < 99 ? nowhere : undefined
  }

  #of(id: string | undefined): OWallet | undefined {
    return id === undefined ? undefined : this.oracle.wallets.get(id)
  }

  /** An amount around a figure that matters. */
  #around(figure: bigint): bigint {
    const f = figure > 0n ? figure : 0n
    const small = BigInt(1 + this.#below(30))
    const amount = this.#oneOf([f, f, f + 1n, f - 1n, f / 2n, f / 3n + 1n, small, small, f / 10n, f + small, 2n * f, 100n])
    return amount > 0n ? amount : 1n
  }

  #holdId(): string {
    const every: string[] = []
    const open: string[] = []
    const reporting: string[] = []
    for (const wallet of this.oracle.wallets.values()) {
      for (const hold of wallet.holds) {
        every.push(hold.id)
        if (hold.status === 'held') open.push(hold.id)
        if (hold.seen && hold.status !== 'committed' && hold.status !== 'released') reporting.push(hold.id)
      }
    }
    const n = this.#below(100)
    // What has begun to report totals goes on to.
    if (n < 30 && reporting.length > 0) return this.#oneOf(reporting)
    const from = n < 85 && open.length > 0 ? open : every
    if (n >= 97 || from.length === 0) return this.world.nowhere
    return from[from.length - 1 - this.#below(from.length)] as string
  }

  #work(): OWork {
    const what = this.#below(10)
    const { model, provider } = what < 7 ? this.#oneOf(MODELS) : NO_MODEL
    const operation = what >= 5 ? this.#oneOf(OPERATIONS) : null
    const units = operation === null ? null : this.#oneOf([0, 1, 2, 3, 9])
    return {
      operation,
      units,
      model,
      provider,
      usage: model === null ? null : this.#usage([0, 1, 7, 40, 100, 101, 333], [0, 1, 3, 50, 200]),
    }
  }

  /** Mostly prompt and answer; sometimes some of what else there is, priced or not. */
  #usage(input: readonly number[], output: readonly number[]): OUsage {
    const usage: Record<string, number> = { input_tokens: this.#oneOf(input), output_tokens: this.#oneOf(output) }
    const n = this.#below(20)
    if (n === 0) delete usage.output_tokens
    if (n === 1) delete usage.input_tokens
    if (n >= 9) usage[this.#oneOf(COMMON_POOLS)] = this.#oneOf([0, 1, 2, 30, 60, 100])
    if (n >= 13) usage[this.#oneOf(COMMON_POOLS)] = this.#oneOf([1, 2, 5, 61])
    if (n >= 18) usage[this.#oneOf(OTHER_POOLS)] = this.#oneOf([0, 0, 1, 2])
    return usage
  }

  #tier(): OTier {
    const n = this.#below(12)
    return n < 8 ? 'standard' : n < 10 ? 'batch' : n < 11 ? 'priority' : 'flex'
  }

  #cost(wallet: OWallet | undefined): OCost {
    const free = wallet ? availableOf(wallet) : 0n
    if (this.#below(10) < 5) return { amount: this.#around(free) }
    const work = this.#work()
    return { ...work, serviceTier: work.usage ? this.#tier() : 'standard' }
  }

  #payees(): OPayee[] {
    if (this.#below(100) >= 22) return []
    const ppm = this.#oneOf([1n, 100_000n, 333_333n, 500_000n, 1_000_000n, 600_000n])
    const first = { wallet: this.#wallet(), ppm }
    const second = { wallet: this.#wallet(), ppm: this.#oneOf([1n, 250_000n, 600_000n]) }
    // One wallet twice may make two grants in one command, for which the oracle has no names; test/charges/charge-once.test.ts has it.
    return this.#below(3) === 0 && second.wallet !== first.wallet ? [first, second] : [first]
  }

  #owner(wallet: OWallet | undefined): string | null {
    const n = this.#below(100)
    if (n < 10) return wallet?.owner ?? null
    return n < 15 ? 'user:somebody' : null
  }

  /** A future time that a deadline or an expiry may have, often one that another has. */
  #future(): number {
    const { stepMs, offsetMs } = this.#grain
    const { now } = this.oracle
    const known: number[] = []
    for (const wallet of this.oracle.wallets.values())
      for (const lot of wallet.lots) if (lot.expiresAt !== null && lot.expiresAt > now) known.push(lot.expiresAt)
    if (known.length > 0 && this.#below(3) === 0) return this.#oneOf(known)
    return now + offsetMs + stepMs * this.#oneOf([1, 2, 3, 5, 9, 20])
  }

  #past(): number {
    return this.#grain.offsetMs > 0 ? this.oracle.now - this.#grain.offsetMs : this.oracle.now - this.#below(2)
  }

  #action(verb: Action['verb']): Action {
    switch (verb) {
      case 'grant': {
        const id = this.#wallet()
        const wallet = this.#of(id)
        const n = this.#below(100)
        const huge = this.#huge && n < 35
        const room = 9_000_000_000_000_000_000n - (wallet ? balanceOf(wallet) : 0n)
        const amount = huge
          ? this.#oneOf([room, room + 1n, room - 5n, room / 2n, 4_000_000_000_000_000_000n])
          : BigInt(1 + this.#below(9)) * this.#oneOf([1n, 10n, 100n, 100n])
        const when = this.#below(10)
        const until = this.#below(20)
        return {
          verb,
          wallet: id,
          kind: this.#oneOf(['bonus', 'purchase', 'adjustment'] as const),
          amount: amount > 0n ? amount : 1n,
          priority: n % 4 === 0 ? n % 3 : null,
          effectiveAt: when < 7 ? null : when < 9 ? this.#future() : this.#past(),
          expiresAt: until < 9 ? null : until < 19 ? this.#future() : this.#past(),
        }
      }
      case 'void': {
        const lots: { wallet: string; born: string; spent: boolean }[] = []
        for (const wallet of this.oracle.wallets.values())
          for (const lot of wallet.lots) lots.push({ wallet: wallet.id, born: lot.born, spent: isSpent(lot) })
        const live = lots.filter((lot) => !lot.spent)
        const from = this.#below(10) < 7 ? live : lots
        if (from.length === 0 || this.#below(30) === 29) return { verb, wallet: undefined, born: this.world.nowhere }
        const { wallet, born } = this.#oneOf(from)
        return { verb, wallet, born }
      }
      case 'reserve': {
        const id = this.#wallet()
        const wallet = this.#of(id)
        return {
          verb,
          wallet: id,
          cost: this.#cost(wallet),
          ttlSeconds: this.#ttl(),
          partial: this.#below(4) === 0,
          resourceOwner: this.#owner(wallet),
        }
      }
      case 'commit': {
        const hold = this.#holdId()
        const cost = this.#actual(hold)
        return {
          verb,
          hold,
          cost,
          final: this.#below(100) < (cost.amount === undefined && cost.usageTotal ? 20 : 55),
          payees: this.#payees(),
          force: this.#below(100) < 8,
        }
      }
      case 'release':
      case 'expire':
        return { verb, hold: this.#holdId() }
      case 'extend': {
        const hold = this.#holdId()
        const free = this.oracle.holdById(hold)?.wallet
        const week = 7 * 24 * 3600
        const nudge = this.#grain.offsetMs / 1000
        const ttl = this.#oneOf([null, null, this.#ttl(), this.#ttl(), this.#ttl(), week - nudge, week + nudge, week + 1 + nudge])
        return { verb, hold, ttlSeconds: ttl, addAmount: this.#below(3) === 0 ? 0n : this.#around(free ? availableOf(free) : 1n) }
      }
      case 'charge': {
        const id = this.#wallet()
        const wallet = this.#of(id)
        const record = this.#below(3) === 0
        let cost = this.#cost(wallet)
        // The edge of what debt covers.
        if (cost.amount !== undefined && wallet && this.#below(3) === 0) cost = { amount: this.#around(availableOf(wallet) + wallet.limit) }
        return {
          verb,
          wallet: id,
          cost,
          resourceOwner: this.#owner(wallet),
          payees: this.#payees(),
          force: this.#below(100) < 8,
          shortfall: record ? 'record' : 'refuse',
        }
      }
      case 'refund': {
        const every: string[] = []
        for (const wallet of this.oracle.wallets.values()) for (const charge of wallet.charges) every.push(charge.id)
        const id = every.length === 0 || this.#below(30) === 29 ? this.world.nowhere : this.#oneOf(every)
        const charge = this.oracle.chargeById(id)?.charge
        const open = charge ? charge.captured + charge.overage - charge.refunded : 1n
        return { verb, charge: id, amount: this.#below(3) === 0 ? null : this.#around(open) }
      }
      case 'adjust': {
        const id = this.#wallet()
        const wallet = this.#of(id)
        const amount = this.#around(wallet ? availableOf(wallet) : 1n)
        return { verb, wallet: id, amount: this.#below(2) === 0 ? -amount : amount > 500n ? 500n : amount }
      }
      case 'configure': {
        const id = this.#wallet()
        const wallet = this.#of(id)
        const debt = wallet?.debt ?? 0n
        const limit = this.#oneOf([debt, debt - 1n, debt + 1n, 0n, 30n, 300n, 300n, wallet?.limit ?? 0n])
        return { verb, wallet: id, overdraftLimit: limit > 0n ? limit : 0n }
      }
      case 'status':
        return {
          verb,
          wallet: this.#wallet(),
          status: this.#oneOf(['active', 'active', 'active', 'active', 'active', 'frozen', 'frozen', 'closed'] as const),
        }
    }
  }

  #ttl(): number {
    const { stepMs, offsetMs } = this.#grain
    return (offsetMs + stepMs * this.#oneOf([1, 2, 5, 30, 30, 100])) / 1000
  }

  #actual(id: string): OActual {
    const found = this.oracle.holdById(id)
    const hold = found?.hold
    const pinned = hold ? hold.amount - hold.captured - hold.released : 5n
    const { model = null, operation = null } = hold?.terms ?? {}
    const n = this.#below(100)
    if (n < (hold?.seen ? 5 : model ? 30 : 45) || (n < 80 && !model && !operation)) {
      const tenfold = hold ? 10n * hold.requested - hold.cost : 10n
      const cover = found ? pinned + availableOf(found.wallet) : 1n
      const edge = found ? cover + found.wallet.limit - found.wallet.debt : 1n
      const amount = this.#oneOf([
        0n,
        this.#around(pinned),
        this.#around(pinned),
        pinned,
        tenfold,
        tenfold + 1n,
        this.#around(cover),
        this.#around(edge),
      ])
      return { amount: amount > 0n ? amount : 0n }
    }
    if (n < 80) {
      // Who reports totals mostly goes on to.
      const total = this.#below(6) < (hold?.seen ? 5 : 3)
      const names = model ? NAMES_OF[model.price.model] : undefined
      const named = names !== undefined && this.#below(3) === 0 ? this.#oneOf(names) : NO_MODEL
      // Totals near those of the last report, about which long prompts begin.
      const usage = total ? this.#usageTotal(hold?.seen ?? null) : this.#usage([0, 1, 7, 20, 60, 101, 200], [0, 1, 3, 25, 90])
      const other = this.#below(12) === 0 ? this.#oneOf(OPERATIONS) : null
      return {
        ...named,
        operation: other,
        units: other !== null || (operation && (!model || this.#below(3) === 0)) ? this.#oneOf([0, 1, 2, 4]) : null,
        usage: model && !total ? usage : null,
        usageTotal: model && total ? usage : null,
        serviceTier: this.#below(6) === 0 ? this.#tier() : null,
      }
    }
    // Other work than was reserved, or none that fits.
    const work = this.#work()
    const serviceTier = this.#below(4) === 0 && work.usage ? this.#tier() : null
    if (n < 90) return { ...work, usageTotal: null, serviceTier }
    if (n < 94) return { ...work, usage: null, usageTotal: work.usage, serviceTier }
    const usage = n % 2 ? work.usage : { input_tokens: 3, output_tokens: 1 }
    return { ...work, ...NO_MODEL, operation: null, usage, usageTotal: null, serviceTier: null }
  }

  #usageTotal(seen: OUsage | null): OUsage {
    const n = this.#below(4)
    const usage: Record<string, number> = { ...this.#usage([0, 20, 60, 100, 101, 180, 200], [0, 3, 25, 90]) }
    if (seen && n > 0) {
      const room = Math.max(0, 100 - tokensOfPrompt(seen))
      usage.input_tokens = (seen.input_tokens ?? 0) + this.#oneOf([0, 1, room, room + 1, 10, -5])
      if (usage.input_tokens < 0) usage.input_tokens = 0
      if (n > 1) usage.output_tokens = (seen.output_tokens ?? 0) + this.#oneOf([0, 1, 17])
    }
    return usage
  }

  #advance(): number {
    const { stepMs, offsetMs } = this.#grain
    const { now } = this.oracle
    const events: number[] = []
    for (const wallet of this.oracle.wallets.values()) {
      for (const hold of wallet.holds) if (hold.status === 'held') events.push(hold.expiresAt)
      for (const lot of wallet.lots) {
        if (lot.expiresAt !== null) events.push(lot.expiresAt)
        if (!lot.posted) events.push(lot.effectiveAt)
      }
    }
    // The minutes at which prices of the hour begin and end.
    for (const { variants } of this.oracle.prices.models.slice(-4)) {
      for (const { hours } of variants) if (hours) events.push(nextAt(hours.from, now), nextAt(hours.to, now))
    }
    const ahead = events.filter((at) => at > now).sort((a, b) => a - b)
    const n = this.#below(10)
    const event = ahead[this.#below(Math.min(ahead.length, 3) || 1)]
    if (event === undefined || n === 9) return stepMs * this.#oneOf([1, 2, 10])
    if (offsetMs > 0) return event - now + (n < 7 ? stepMs - offsetMs : -offsetMs)
    return Math.max(0, event - now + (n < 6 ? 0 : n < 8 ? -1 : 1))
  }

  #price(): Step {
    const { oracle } = this
    const { prices } = oracle
    const what = this.#oneOf(['model', 'model', 'rate', 'markup', 'policy', 'operation'] as const)
    const step = this.#grain.stepMs
    // A version takes effect after the moment in which it is set: what was reserved in that moment is frozen at the old one.
    let from = oracle.now + (this.#below(3) === 0 ? step * 2 : 1)
    // Where the real clock runs beside, a version lies between two of the list's times.
    if (this.#grain.offsetMs > 0) from = oracle.now + this.#grain.offsetMs
    const n = this.#below(4)
    const taken = (list: readonly { from: number }[]) => list.some((version) => version.from === from)
    switch (what) {
      case 'model': {
        const { model, provider, aliases } = this.#oneOf(KNOWN)
        if (taken(prices.models.filter((each) => each.model === model))) break
        const m = this.#below(20)
        prices.models.push({
          from,
          model,
          // A model may go to another provider, and a name to another model.
          provider: m === 0 ? 'bolt' : provider,
          rates: this.#oneOf(RATES),
          variants: [...this.#oneOf(VARIANTS), ...this.#hourly()],
          aliases: m === 1 ? [{ equals: 'large-turbo' }] : m === 2 ? [] : aliases,
          enabled: model !== 'retired' && m !== 3 && m !== 4,
        })
        break
      }
      case 'rate': {
        // Others than those for consumption in dollars change nothing.
        const [currency, purpose] = this.#oneOf([
          ...Array<readonly ['USD', 'consumption']>(4).fill(['USD', 'consumption']),
          ['USD', 'purchase'],
          ['EUR', 'consumption'],
        ] as const)
        if (taken(prices.rates.filter((each) => each.currency === currency && each.purpose === purpose))) break
        prices.rates.push({ from, currency, purpose, credits: ['1', '1.5', '0.8', '2.000000000001'][n] as string })
        break
      }
      case 'markup': {
        const scope = this.#oneOf(['default', 'default', 'provider:acme', 'provider:bolt', 'model:small', 'model:bolt/large'])
        if (taken(prices.markups.filter((each) => each.scope === scope))) break
        prices.markups.push({ from, scope, percent: ['20', '0', '33.3', '12.5'][n] as string })
        break
      }
      case 'policy':
        if (!taken(prices.policies))
          prices.policies.push({
            from,
            minimum: [20n, 0n, 1n, 75n][n] as bigint,
            maximum: [2000n, 500n, 10n ** 18n, 10n ** 19n][n] as bigint,
            roundTo: this.#oneOf([1n, 1n, 10n, 7n]),
            ownerExempt: this.#below(4) > 0,
          })
        break
      case 'operation': {
        const operation = this.#oneOf(['scan', 'render'])
        if (!taken(prices.operations.filter((each) => each.operation === operation)))
          prices.operations.push({
            from,
            operation,
            flat: this.#oneOf([0n, 0n, 5n, 40n]),
            unit: [7n, 30n, 0n, 110n][n] as bigint,
            enabled: n !== 3,
          })
      }
    }
    return { kind: 'price', now: oracle.now, what }
  }

  /** Prices of an hour that has just begun, is about to, or goes over midnight. */
  #hourly(): OVariant[] {
    const n = this.#below(9)
    if (n < 4) return []
    const { stepMs, offsetMs } = this.#grain
    // Where the real clock runs beside, hours begin and end halfway between the list's times.
    const [first, unit] = offsetMs > 0 ? [offsetMs, stepMs] : [0, 60_000]
    const at = (units: number) => new Date(this.oracle.now + first + units * unit).toISOString().slice(11, 16)
    const [from, to] = this.#oneOf([
      [-2, 0],
      [-1, 1],
      [0, 1],
      [0, 2],
      [1, 3],
      [2, -1],
      [0, 0],
      [-1, 20],
    ] as const)
    const conditions = [{}, {}, { above: 100 }, { tier: 'batch' as const }][this.#below(4)]
    return [{ ...conditions, hours: { from: at(from), to: at(to) }, rates: this.#oneOf(REPLACING) }]
  }
}

/** The next time that a clock shows "HH:MM" in UTC. */
function nextAt(clock: string, now: number): number {
  const day = Math.floor(now / DAY_MS) * DAY_MS
  const at = day + (Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3))) * 60_000
  return at > now ? at : at + DAY_MS
}
const DAY_MS = 86_400_000

/** What may be asked for: names of every kind, right and wrong. */
const MODELS = [
  ...['small', 'small', 'large', 'large', 'vision', 'vision', 'bolt/large', 'retired'].map((model) => ({ model, provider: null })),
  { model: 'large', provider: 'bolt' },
  { model: 'large', provider: 'acme' },
  { model: 'vision', provider: 'acme' },
  { model: 'acme/small', provider: null },
  { model: 'small-v2.1', provider: null },
  { model: 'small-v2-fast', provider: null },
  { model: 'SMALL-2025', provider: null },
  { model: 'large-turbo', provider: null },
  { model: 'large-turbo', provider: 'bolt' },
  { model: 'bolt/large-turbo', provider: null },
  { model: 'zed/small-v2-fast', provider: null },
  { model: 'models/vision', provider: null },
  { model: 'imaginary', provider: null },
  { model: 'small-2024-01-01', provider: null },
] as const
const NO_MODEL = { model: null, provider: null } as const
const OPERATIONS = ['scan', 'scan', 'scan', 'render', 'render', 'forgotten'] as const

/** Names under which a commit may name what was reserved, and some that mean something else than they seem to. */
const NAMES_OF: Readonly<Record<string, readonly { readonly model: string; readonly provider: string | null }[]>> = {
  small: ['small', 'acme/small', 'small-v2.1', 'Small', 'small-v2-fast'].map((model) => ({ model, provider: null })),
  large: [
    { model: 'large', provider: null },
    { model: 'large', provider: 'acme' },
    { model: 'large', provider: 'bolt' },
    { model: 'large-turbo', provider: null },
  ],
  'bolt/large': [
    { model: 'bolt/large', provider: null },
    { model: 'large', provider: null },
    { model: 'large-turbo', provider: null },
    { model: 'large-turbo', provider: 'bolt' },
    { model: 'large', provider: 'acme' },
  ],
  vision: [
    { model: 'models/vision', provider: null },
    { model: 'vision', provider: 'acme' },
  ],
}

const KNOWN = [
  { model: 'small', provider: 'acme', aliases: [{ equals: 'small-2025' }, { startsWith: 'small-v' }] },
  { model: 'small', provider: 'acme', aliases: [{ equals: 'small-2025' }, { startsWith: 'small-v' }] },
  { model: 'large', provider: 'acme', aliases: [{ all: [{ contains: '-v2' }, { endsWith: '-fast' }] }] },
  { model: 'vision', provider: 'acme', aliases: [] },
  { model: 'bolt/large', provider: 'bolt', aliases: [{ equals: 'large-turbo' }] },
  { model: 'retired', provider: 'acme', aliases: [{ equals: 'small-2024-01-01' }] },
] as const

const COMMON_POOLS = [
  'cache_read_tokens',
  'cache_read_tokens',
  'reasoning_tokens',
  'citation_tokens',
  'cache_write_5m_tokens',
  'input_image_tokens',
  'cache_read_image_tokens',
  'requests',
  'searches',
] as const

const OTHER_POOLS = [
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'cache_read_audio_tokens',
  'input_video_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'output_video_tokens',
  'input_seconds',
  'output_seconds',
  'input_characters',
  'output_characters',
  'input_images',
  'output_images',
  'pages',
  'units',
] as const

const EVERYTHING: ORates = {
  ...Object.fromEntries(
    [...COMMON_POOLS, ...OTHER_POOLS].map((pool, index) => [pool, pool.endsWith('tokens') ? `0.${index}75` : `0.0000${index}`]),
  ),
  input_tokens: '0.5',
  output_tokens: '1.5',
}

const RATES: readonly ORates[] = [
  { input_tokens: '0.5', output_tokens: '1.5' },
  { input_tokens: '0.75', cache_read_tokens: '0.075', output_tokens: '2.25', searches: '0.00001' },
  { input_tokens: '1.25', output_tokens: '10', reasoning_tokens: '12', requests: '0.000004' },
  { input_tokens: '0.1', cache_write_5m_tokens: '0.333', input_image_tokens: '0.7', output_tokens: '0.333', requests: '0' },
  { input_tokens: '0', cache_read_tokens: '0', output_tokens: '0.000000000001' },
  EVERYTHING,
]

/** What a variant may say: dearer, cheaper, a price that there is not in the base, some of the pools only. */
const REPLACING: readonly ORates[] = [
  { input_tokens: '1.1', output_tokens: '2.7' },
  { input_tokens: '0.25', output_tokens: '0.75' },
  { input_tokens: '0.9', cache_read_tokens: '0.6', reasoning_tokens: '3', requests: '0.00003' },
  { output_tokens: '4', cache_write_5m_tokens: '2', searches: '0.00002' },
]
const [DEARER, CHEAPER, MORE, SOME] = REPLACING as [ORates, ORates, ORates, ORates]

const VARIANTS: readonly (readonly OVariant[])[] = [
  [],
  [{ above: 100, rates: DEARER }],
  [{ tier: 'batch', rates: CHEAPER }],
  [
    { above: 100, rates: DEARER },
    { tier: 'batch', rates: CHEAPER },
    { tier: 'batch', above: 100, rates: SOME },
  ],
  [
    { above: 60, rates: DEARER },
    { above: 200, rates: MORE },
    { tier: 'priority', rates: MORE },
    { tier: 'flex', above: 100, rates: CHEAPER },
  ],
  [
    { tier: 'batch', rates: CHEAPER },
    { above: 100, rates: CHEAPER },
  ],
]

/** Prices may be bare, as they always were, or have everything that a price can have. */
function startingPrices(flavour: number, start: number): OPrices {
  const from = start - 1_000_000_000
  const rich = flavour % 4 > 0
  // In and out of force at the start, one of them over midnight.
  const hourly: OVariant[] = [
    { hours: { from: '07:30', to: '09:30' }, rates: SOME },
    { above: 100, hours: { from: '23:30', to: flavour % 8 < 4 ? '08:30' : '07:30' }, rates: MORE },
  ]
  const [small, large, vision, boltLarge, retired] = [0, 2, 3, 4, 5].map((index) => KNOWN[index] as (typeof KNOWN)[number])
  const price = (known: (typeof KNOWN)[number] | undefined, rates: ORates, variants: readonly OVariant[] = [], enabled = true) => ({
    from,
    ...(known as (typeof KNOWN)[number]),
    rates,
    variants,
    enabled,
  })
  return {
    models: [
      price(small, RATES[0] as ORates),
      price(large, RATES[rich ? 2 : 0] as ORates, rich ? VARIANTS[1 + (flavour % 5)] : []),
      price(vision, EVERYTHING, rich ? [...(VARIANTS[3] as OVariant[]), ...(flavour % 2 ? hourly : [])] : []),
      price(boltLarge, RATES[3] as ORates, rich ? VARIANTS[4] : []),
      price(retired, { input_tokens: '2', output_tokens: '8' }, [], false),
    ],
    operations: [
      { from, operation: 'scan', flat: rich ? 12n : 0n, unit: 7n, enabled: true },
      { from, operation: 'render', flat: 0n, unit: 30n, enabled: true },
    ],
    markups: [
      ...(flavour % 5 === 4 ? [] : [{ from, scope: 'default', percent: '20' }]),
      ...(flavour % 3 === 2 ? [{ from, scope: 'provider:bolt', percent: '7.5' }] : []),
    ],
    rates: flavour % 10 === 9 ? [] : [{ from, currency: 'USD', purpose: 'consumption', credits: '1' }],
    policies:
      flavour % 25 === 24
        ? [{ from, minimum: 20n, maximum: 10n ** 19n, roundTo: 1n, ownerExempt: true }]
        : flavour % 20 === 19
          ? []
          : [{ from, minimum: 20n, maximum: 2_000n, roundTo: flavour % 7 === 6 ? 10n : 1n, ownerExempt: flavour % 6 !== 5 }],
  }
}
