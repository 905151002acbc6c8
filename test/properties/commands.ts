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
  type OPrices,
  Oracle,
  type OWallet,
} from './oracle.ts'

/**
 * Lists of commands. A raw command is a row of small numbers from fast-check, which shrinks well; what it means is settled
 * against the oracle's present state, so that amounts lie around balances, times around deadlines, and names mostly lead somewhere.
 */

export type Raw = readonly number[]
export interface RawList {
  readonly flavour: number
  readonly raws: readonly Raw[]
}

const PICKS = 8

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
    this.#at = 1
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

  // Picks: each takes the next number of the raw command.

  #number(): number {
    const value = this.#raw[this.#at] ?? 0
    this.#at = this.#at >= PICKS ? 1 : this.#at + 1
    return value
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
    for (const wallet of this.oracle.wallets.values()) {
      for (const hold of wallet.holds) {
        every.push(hold.id)
        if (hold.status === 'held') open.push(hold.id)
      }
    }
    const n = this.#below(100)
    const from = n < 85 && open.length > 0 ? open : every
    if (n >= 97 || from.length === 0) return this.world.nowhere
    return from[from.length - 1 - this.#below(from.length)] as string
  }

  #work(
    models: readonly string[],
    operations: readonly string[],
  ): {
    operation: string | null
    units: number | null
    model: string | null
    usage: { input_tokens: number; output_tokens: number } | null
  } {
    const what = this.#below(10)
    const tokens = { input_tokens: this.#oneOf([0, 1, 7, 40, 100, 333]), output_tokens: this.#oneOf([0, 1, 3, 50, 200]) }
    const units = this.#oneOf([0, 1, 2, 3, 9])
    const model = what < 7 ? this.#oneOf(models) : null
    const operation = what >= 5 ? this.#oneOf(operations) : null
    return { operation, units: operation === null ? null : units, model, usage: model === null ? null : tokens }
  }

  #cost(wallet: OWallet | undefined): OCost {
    const free = wallet ? availableOf(wallet) : 0n
    if (this.#below(10) < 6) return { amount: this.#around(free) }
    return this.#work(MODELS, OPERATIONS)
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
        return {
          verb,
          hold,
          cost: this.#actual(hold),
          final: this.#below(100) < 55,
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
    const reserved = { model: hold?.terms.model?.id, operation: hold?.terms.operation?.id }
    const n = this.#below(100)
    if (n < 55 || (n < 80 && !reserved.model && !reserved.operation)) {
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
      const tokens = { input_tokens: this.#oneOf([0, 1, 7, 20, 60, 200]), output_tokens: this.#oneOf([0, 1, 3, 25, 90]) }
      const total = this.#below(2) === 0
      const named = this.#below(4) === 0
      return {
        model: reserved.model && named ? reserved.model : null,
        operation: null,
        units: reserved.operation && (!reserved.model || this.#below(3) === 0) ? this.#oneOf([0, 1, 2, 4]) : null,
        usage: reserved.model && !total ? tokens : null,
        usageTotal: reserved.model && total ? tokens : null,
      }
    }
    // Other work than was reserved, or none that fits.
    const work = this.#work(MODELS, OPERATIONS)
    if (n < 94) return { ...work, usageTotal: null }
    return { ...work, model: null, operation: null, usage: n % 2 ? work.usage : { input_tokens: 3, output_tokens: 1 }, usageTotal: null }
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
        const model = this.#oneOf(['small', 'small', 'large', 'retired'])
        if (taken(prices.models.filter((each) => each.model === model))) break
        prices.models.push({
          from,
          model,
          input: ['0.5', '0.75', '0.1', '3'][n] as string,
          output: ['1.5', '2.25', '0.333', '15'][n] as string,
          enabled: model !== 'retired' && n !== 3,
        })
        break
      }
      case 'rate':
        if (!taken(prices.rates)) prices.rates.push({ from, creditsPerDollar: ['1', '1.5', '0.8', '2'][n] as string })
        break
      case 'markup':
        if (!taken(prices.markups)) prices.markups.push({ from, percent: ['20', '0', '33.3', '12.5'][n] as string })
        break
      case 'policy':
        if (!taken(prices.policies))
          prices.policies.push({
            from,
            minimum: [20n, 0n, 1n, 75n][n] as bigint,
            maximum: [2000n, 500n, 10n ** 18n, 10n ** 19n][n] as bigint,
          })
        break
      case 'operation': {
        const operation = this.#oneOf(['scan', 'render'])
        if (!taken(prices.operations.filter((each) => each.operation === operation)))
          prices.operations.push({ from, operation, unit: [7n, 30n, 0n, 110n][n] as bigint, enabled: n !== 3 })
      }
    }
    return { kind: 'price', now: oracle.now, what }
  }
}

const MODELS = ['small', 'small', 'small', 'large', 'large', 'retired', 'imaginary'] as const
const OPERATIONS = ['scan', 'scan', 'scan', 'render', 'render', 'forgotten'] as const

function startingPrices(flavour: number, start: number): OPrices {
  const from = start - 1_000_000_000
  return {
    models: [
      { from, model: 'small', input: '0.5', output: '1.5', enabled: true },
      { from, model: 'large', input: '1.25', output: '10', enabled: true },
      { from, model: 'retired', input: '2', output: '8', enabled: false },
    ],
    operations: [
      { from, operation: 'scan', unit: 7n, enabled: true },
      { from, operation: 'render', unit: 30n, enabled: true },
    ],
    markups: flavour % 5 === 4 ? [] : [{ from, percent: '20' }],
    rates: flavour % 10 === 9 ? [] : [{ from, creditsPerDollar: '1' }],
    policies:
      flavour % 25 === 24
        ? [{ from, minimum: 20n, maximum: 10n ** 19n }]
        : flavour % 20 === 19
          ? []
          : [{ from, minimum: 20n, maximum: 2_000n }],
  }
}
