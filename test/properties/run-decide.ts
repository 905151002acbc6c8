import type { Grant } from '../../src/grants/grant.ts'
import type { Command } from '../../src/ledger/command.ts'
import type { PriceBook } from '../../src/pricing/prices.ts'
import { costOf } from '../../src/pricing/quote.ts'
import { recompute } from '../../src/pricing/recompute.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { FINE, makeWorld, type RawList, Resolver } from './commands.ts'
import { expectedAnswer, type GrantNames, grantName, priceBook, readAnswer, SAME_CLOCK, show, toCommand } from './drive.ts'
import { broken, brokenRecords, brokenWhole, type WalletBook } from './invariants.ts'
import { MemoryStore, newWallet } from './memory-store.ts'
import { balanceOf, heldOf, type OAnswer, type OCommand, type OWallet } from './oracle.ts'

/** What a run has seen, for the histograms. */
export class Tally {
  lists = 0
  commands = 0
  accepted = 0
  replays = 0
  splits = 0
  readonly verbs = new Map<string, number>()
  readonly codes = new Map<string, number>()
  readonly shapes = new Map<string, number>()
  /** What was special about prices. */
  readonly prices = new Map<string, number>()
  /** Quotes that were worked out again. */
  recomputed = 0
  readonly batchSizes = new Map<string, number>()

  count(map: Map<string, number>, name: string, by = 1): void {
    map.set(name, (map.get(name) ?? 0) + by)
  }

  batch(size: number): void {
    const bucket = size === 1 ? '1' : size === 2 ? '2' : size <= 7 ? '3–7' : size <= 20 ? '8–20' : size <= 64 ? '21–64' : '65–256'
    this.count(this.batchSizes, bucket)
  }

  print(map: Map<string, number>): string {
    return [...map]
      .sort(([, a], [, b]) => b - a)
      .map(([name, n]) => `${name} ${n}`)
      .join(', ')
  }
}

/** A list went wrong; `story` is every step up to there. */
export class Disagreement extends Error {
  readonly story: readonly string[]
  constructor(what: string, story: readonly string[]) {
    super(`${what}\n${story.join('\n')}`)
    this.story = story
  }
}

const START = 1_800_000_000_000

interface Spoken {
  readonly now: number
  readonly command: Command
}

/** A small generator of its own, so that the splits of a list are a function of the list. */
function dice(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export function bookOf(store: MemoryStore, id: string): WalletBook {
  const wallet = store.wallets.get(id)
  if (!wallet) throw new Error(`no wallet ${id}`)
  return {
    wallet,
    grants: [...(store.grants.get(id)?.values() ?? [])],
    reservations: [...(store.reservations.get(id)?.values() ?? [])],
    charges: [...(store.charges.get(id)?.values() ?? [])],
    transactions: store.transactions.get(id) ?? [],
  }
}

/**
 * Runs one list through `decideBatch`, a command at a time beside the oracle, and then in batches.
 * @param splits sizes of batches for further runs of the same commands, 0 for random ones
 */
export function runList(list: RawList, number: number, splits: readonly number[], tally: Tally): void {
  const world = makeWorld(number, number % 2 === 0)
  const resolver = new Resolver(world, FINE, list.flavour, START)
  const { oracle } = resolver
  const store = new MemoryStore()
  const open = (into: MemoryStore) => {
    for (const { id, client, ownerKind, ownerId } of world.wallets) into.addWallet(newWallet(id, client, ownerKind, ownerId, START))
  }
  open(store)
  const names: GrantNames = new Map()
  const story: string[] = []
  const spoken: Spoken[] = []
  const answers: string[] = []
  const ledgerChecked = new Map<string, number>()
  let prices = priceBook(oracle.prices, SAME_CLOCK)
  let steps = 0
  tally.lists += 1

  for (const raw of list.raws) {
    const step = resolver.next(raw)
    steps += 1
    if (step.kind !== 'command') {
      story.push(step.kind === 'advance' ? `clock +${step.by} ms` : `new price: ${step.what}`)
      prices = priceBook(oracle.prices, SAME_CLOCK)
      tally.count(tally.verbs, step.kind)
      continue
    }
    const before = new Map(oracle.wallets)
    const expected = oracle.run(step.command)
    const command = toCommand(step.command, prices, names, SAME_CLOCK)
    const [answer] = store.transact([command], step.now)
    if (!answer) throw new Error('no answer')
    spoken.push({ now: step.now, command })
    answers.push(`${answer.status} ${answer.body}`)
    story.push(`${step.note} ${show(step.command)}`)

    tally.commands += 1
    tally.count(tally.verbs, step.note)
    if (answer.replayed) tally.replays += 1
    const told = readAnswer(answer)
    const hoped = expectedAnswer(expected, SAME_CLOCK)
    if (told !== hoped) throw new Disagreement(`the answer is\n  ${told}\nwhere the oracle has\n  ${hoped}`, story)
    if (expected.code === 'ok') {
      if (!expected.replayed) {
        tally.accepted += 1
        noteShapes(tally, step.command, expected)
        for (const note of oracle.notes) tally.count(tally.prices, note)
      }
    } else tally.count(tally.codes, expected.code)

    for (const { id } of world.wallets) {
      const after = oracle.wallets.get(id) as OWallet
      if (before.get(id) === after && !store.changed.has(id)) continue
      const difference = compare(after, bookOf(store, id), step.now)
      if (difference) throw new Disagreement(difference, story)
      const ledgerFrom = ledgerChecked.get(id) ?? 0
      const book = bookOf(store, id)
      const fault = broken(book, step.now, ledgerFrom)
      if (fault) throw new Disagreement(`invariant: ${fault}`, story)
      ledgerChecked.set(id, book.transactions.length)
    }
  }
  const whole = world.wallets.map(({ id }) => bookOf(store, id))
  const fault = brokenWhole(whole) ?? brokenRecords(store.records.values(), whole) ?? brokenQuotes(prices, whole, tally)
  if (fault) throw new Disagreement(`invariant: ${fault}`, story)
  tally.count(tally.verbs, 'steps', steps)

  const reference = store.print()
  for (const size of splits) {
    const roll = dice(list.flavour + number)
    const again = new MemoryStore(store, number % 3 !== 0)
    open(again)
    const told: string[] = []
    for (let at = 0; at < spoken.length; ) {
      const { now } = spoken[at] as Spoken
      const wanted = size > 0 ? size : 1 + Math.floor(roll() * roll() * 40)
      const batch: Command[] = []
      while (at < spoken.length && batch.length < wanted && spoken[at]?.now === now) batch.push((spoken[at++] as Spoken).command)
      tally.batch(batch.length)
      for (const answer of again.transact(batch, now)) told.push(`${answer.status} ${answer.body}`)
    }
    tally.splits += 1
    const where = told.findIndex((text, index) => text !== answers[index])
    if (where >= 0)
      throw new Disagreement(
        `in batches of ${size || 'random size'} command ${where} has\n  ${told[where]}\nand alone\n  ${answers[where]}`,
        story,
      )
    const printed = again.print()
    if (printed !== reference)
      throw new Disagreement(`batches of ${size || 'random size'} leave another book: ${firstDifference(reference, printed)}`, story)
  }
}

/** Every quote, worked out again from the price list as it is at the end, comes to what was charged or asked for. */
function brokenQuotes(prices: PriceBook, books: readonly WalletBook[], tally: Tally): string | null {
  for (const { charges, reservations } of books) {
    for (const { id, quote } of [...charges, ...reservations]) {
      const { cost, missing } = recompute(prices, JSON.parse(JSON.stringify(quote)))
      tally.recomputed += 1
      if (cost !== costOf(quote)) return `quote of ${id} recomputes to ${cost}, was ${costOf(quote)}; missing: ${missing.join(', ')}`
    }
  }
  return null
}

/** The situations that the money rules are about, so that a run can show that it has met them. */
function noteShapes(tally: Tally, { action }: OCommand, { figures }: OAnswer): void {
  const positive = (name: string) => typeof figures[name] === 'bigint' && (figures[name] as bigint) > 0n
  const note = (name: string, is: boolean) => is && tally.count(tally.shapes, name)
  if (action.verb === 'reserve') note('partial hold', (figures.amount as bigint) < (figures.requested as bigint))
  if (action.verb === 'commit' || action.verb === 'charge') {
    note('overage', positive('overage'))
    note('into debt', positive('debtAdded'))
    note('uncollected', positive('uncollected'))
    note('zero cost', figures.cost === 0n)
    note('with payees', action.payees.length > 0 && positive('cost'))
  }
  if (action.verb === 'commit') {
    note('late commit', figures.late === true)
    note('late capture', figures.late === true && !action.final)
    note('capture', !action.final)
    note('commit below the hold', positive('released'))
  }
  if (action.verb === 'grant') note('scheduled grant', figures.scheduled === true)
  if (action.verb === 'void') note('void of a pinned grant', positive('remaining'))
  if (action.verb === 'refund') note('refund in part', action.amount !== null)
  note('answer in debt', positive('debt'))
}

function firstDifference(a: string, b: string): string {
  let i = 0
  while (a[i] === b[i]) i += 1
  return `…${a.slice(Math.max(0, i - 200), i + 100)}…\n  against …${b.slice(Math.max(0, i - 200), i + 100)}…`
}

/** Wallet, lots, holds, charges and ledger sums of the oracle against the book's. */
export function compare(
  expected: OWallet,
  { wallet, grants, reservations, charges, transactions }: WalletBook,
  now: number | null,
): string | null {
  const differ = (what: string, is: unknown, ought: unknown) =>
    is === ought ? null : `${what} is ${String(is)}, the oracle has ${String(ought)}`
  const first =
    differ('balance', wallet.balance, balanceOf(expected)) ??
    differ('held', wallet.held, heldOf(expected)) ??
    differ('debt', wallet.debt, expected.debt) ??
    differ('limit', wallet.overdraftLimit, expected.limit) ??
    differ('status', wallet.status, expected.status) ??
    differ('version', Number(wallet.version), expected.version) ??
    differ('number of grants', grants.length, expected.lots.length) ??
    differ('number of reservations', reservations.length, expected.holds.length) ??
    differ('number of charges', charges.length, expected.charges.length)
  if (first) return first

  const byName = new Map<string, Grant>(grants.map((grant) => [grantName(grant.walletId, grant.id), grant]))
  for (const lot of expected.lots) {
    const name = `grant of ${lot.born.slice(0, 8)}`
    const grant = byName.get(grantName(wallet.id, lot.born))
    if (!grant) return `${name} is not there`
    const difference =
      differ(`${name}: kind`, grant.kind, lot.kind) ??
      differ(`${name}: amount`, grant.amount, lot.amount) ??
      differ(`${name}: remaining`, grant.remaining, lot.remaining) ??
      differ(`${name}: held`, grant.held, lot.held) ??
      differ(`${name}: priority`, grant.priority, lot.priority) ??
      differ(`${name}: posted`, grant.postedAt !== null, lot.posted) ??
      differ(`${name}: voided`, grant.voidedAt !== null, lot.voided) ??
      (now === null ? null : differ(`${name}: expires`, grant.expiresAt, lot.expiresAt))
    if (difference) return difference
  }
  const reservationById = new Map<string, Reservation>(reservations.map((each) => [each.id, each]))
  for (const hold of expected.holds) {
    const is = reservationById.get(hold.id)
    const name = `reservation ${hold.id.slice(0, 8)}`
    if (!is) return `${name} is not there`
    const pins = (list: readonly { amount: bigint }[], of: (pin: never) => string) =>
      list.map((pin) => `${of(pin as never).slice(0, 24)}=${pin.amount}`).join(' ')
    const difference =
      differ(`${name}: status`, is.status, hold.status) ??
      differ(`${name}: requested`, is.requested, hold.requested) ??
      differ(`${name}: amount`, is.amount, hold.amount) ??
      differ(`${name}: captured`, is.captured, hold.captured) ??
      differ(`${name}: released`, is.released, hold.released) ??
      differ(`${name}: cost`, is.cost, hold.cost) ??
      differ(`${name}: usage seen`, counts(is.usageTotal), counts(hold.seen)) ??
      (now === null ? null : differ(`${name}: deadline`, is.expiresAt, hold.expiresAt)) ??
      differ(
        `${name}: pins`,
        pins(is.pins, (pin: { grantId: string }) => pin.grantId),
        pins(hold.pins, (pin: { born: string }) => pin.born),
      )
    if (difference) return difference
  }
  for (const charge of expected.charges) {
    const is = charges.find((each) => each.id === charge.id)
    const name = `charge ${charge.id.slice(0, 8)}`
    if (!is) return `${name} is not there`
    const difference =
      differ(`${name}: cost`, is.cost, charge.cost) ??
      differ(`${name}: captured`, is.captured, charge.captured) ??
      differ(`${name}: overage`, is.overage, charge.overage) ??
      differ(`${name}: refunded`, is.refunded, charge.refunded) ??
      differ(`${name}: late`, is.late, charge.late) ??
      differ(
        `${name}: draws`,
        is.draws.map((draw) => `${draw.grantId.slice(0, 24)}=${draw.amount}`).join(' '),
        charge.draws.map((draw) => `${draw.born.slice(0, 24)}=${draw.amount}`).join(' '),
      )
    if (difference) return difference
  }
  const sums = new Map<string, bigint>()
  for (const { kind, counterAccount, amount } of transactions)
    sums.set(`${kind} ${counterAccount}`, (sums.get(`${kind} ${counterAccount}`) ?? 0n) + amount)
  for (const name of new Set([...sums.keys(), ...expected.ledger.keys()])) {
    const difference = differ(`Σ rows "${name}"`, sums.get(name) ?? 0n, expected.ledger.get(name) ?? 0n)
    if (difference) return difference
  }
  return null
}

function counts(usage: object | null): string {
  return JSON.stringify(usage && Object.fromEntries(Object.entries(usage).sort(([a], [b]) => (a < b ? -1 : 1))))
}

/** The shortest list that still goes wrong: whole stretches are left out first, then single steps, then numbers become zero. */
export function shrink(list: RawList, fails: (list: RawList) => boolean): RawList {
  let best = list
  const better = (candidate: RawList): boolean => {
    if (!fails(candidate)) return false
    best = candidate
    return true
  }
  for (let width = best.raws.length >> 1; width >= 1; width = width === 1 ? 0 : width >> 1) {
    for (let at = 0; at < best.raws.length; ) {
      const raws = [...best.raws.slice(0, at), ...best.raws.slice(at + width)]
      if (raws.length === 0 || !better({ ...best, raws })) at += width
    }
  }
  better({ ...best, flavour: 0 })
  for (let at = 0; at < best.raws.length; at += 1) {
    for (let place = 1; place < (best.raws[at]?.length ?? 0); place += 1) {
      const raw = best.raws[at] as readonly number[]
      if ((raw[place] ?? 0) !== 0) better({ ...best, raws: best.raws.with(at, raw.with(place, 0)) })
    }
  }
  return best
}
