import { setTimeout as sleep } from 'node:timers/promises'
import { formatCredits } from '../../src/kernel/credits.ts'
import type { Random } from '../helpers/random.ts'
import type { Body } from '../helpers/service.ts'
import type { Journal, OperationName, Sent } from './journal.ts'
import { Recovery } from './recovery.ts'
import { createSender, type Reply } from './sender.ts'

/**
 * Many clients that move money on many wallets and one hot one, through one address or several. Each command is in the journal before
 * it is sent. Where no definite answer comes, a client asks again with the same key, as it should, or leaves it, as some will.
 */

export interface LoadOptions {
  /** Where the service answers. A client that finds a connection refused goes to the next. */
  readonly bases: readonly string[]
  /** The API key. */
  readonly key: string
  readonly journal: Journal
  /** The first is the hot one. */
  readonly wallets: readonly string[]
  readonly random: Random
  /** Commands under way at once. */
  readonly clients?: number
  /** Begins every idempotency key. */
  readonly run: string
}

export interface Load {
  readonly wallets: readonly string[]
  readonly acknowledged: number
  readonly refused: number
  /** Tries without a definite answer, by reason. */
  readonly failures: ReadonlyMap<string, number>
  /** For each address, how it came back after faults. */
  readonly recoveries: readonly Recovery[]
  /** The longest time in which nothing was acknowledged, in milliseconds. */
  readonly silenceMs: number
  /** Resolves once so many are acknowledged. */
  reaches(acknowledged: number): Promise<void>
  /** Lets every client finish what it has under way. */
  stop(): Promise<void>
}

const CLIENTS = 32
/** The share of commands for the first wallet, and of those that leave a command without an answer as it is. */
const HOT = 0.25
const LEFT = 0.5
/** Asked for by mistake: too much, or the end of what has ended. */
const MISTAKEN = 0.02
const TOO_MUCH = '500000000'
/** Captures that leave their reservation open. */
const PARTIAL = 0.15
const AMOUNT_MICRO_MAX = 4_000_000
const GRANT_MICRO_MAX = 60_000_000
const TTL_SECONDS = 86_400
/** So many clients knock every few milliseconds, and leave a starting service some of the processor. */
const PAUSE_MS = 60
const PAUSE_MS_SPREAD = 120
/** How many reservations and charges wait to be settled or given back. */
const OPEN_MAX = 2_000

interface Hold {
  readonly id: string
  readonly wallet: string
  readonly amount: number
}

/** Opens wallets. @returns their ids */
export async function openWallets(post: (path: string, body: object) => Promise<Body>, count: number, run: string): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, async (_, n) => (await post('/v1/wallets', { owner: `user:${run}-${n}` })).id))
}

export function startLoad(options: LoadOptions): Load {
  const { bases, journal, wallets, random, run } = options
  const clients = options.clients ?? CLIENTS
  const sender = createSender(options.key, clients)
  const holds: Hold[] = []
  const ended: Hold[] = []
  const charges: { readonly id: string; readonly wallet: string }[] = []
  const recoveries = bases.map(() => new Recovery())
  const failures = new Map<string, number>()
  const milestones: { readonly at: number; resolve(): void }[] = []
  let [drawn, acknowledged, refused, stopped] = [0, 0, 0, false]
  let [silenceMs, acknowledgedAt] = [0, performance.now()]

  const amount = (max: number) => formatCredits(BigInt(1 + random.below(max)))
  /** Takes one of a list, in no order. */
  function take<T>(list: T[]): T | undefined {
    const at = random.below(list.length)
    const [one, last] = [list[at], list.pop()]
    if (last !== undefined && at < list.length) list[at] = last
    return one
  }

  function draw(): Sent {
    drawn += 1
    const key = `${run}-${drawn}`
    const make = (operation: OperationName, wallet: string, path: string, body: object): Sent => ({
      ...{ id: drawn, operation, key, wallet, path },
      body: operation === 'release' ? body : { ...body, reference: key },
    })
    const grant = (wallet: string, kind: string, credits: string) => make('grant', wallet, '/v1/grants', { wallet, kind, amount: credits })
    if (drawn <= wallets.length) return grant(wallets[drawn - 1] as string, 'purchase', drawn === 1 ? '20000' : '1000')

    const wallet = random.chance(HOT) ? (wallets[0] as string) : random.pick(wallets)
    if (random.chance(MISTAKEN)) {
      const over = random.chance(0.5) ? take(ended) : undefined
      if (over) return make('release', over.wallet, `/v1/reservations/${over.id}/release`, {})
      return make('charge', wallet, '/v1/charges', { wallet, amount: TOO_MUCH })
    }
    const dice = random.next()
    if (dice < 0.04) return grant(wallet, random.pick(['bonus', 'purchase']), amount(GRANT_MICRO_MAX))
    if (dice < 0.38) {
      const hold = take(holds)
      if (hold && dice < 0.3) {
        const final = !random.chance(PARTIAL)
        if (!final) holds.push(hold)
        else if (ended.length < OPEN_MAX) ended.push(hold)
        // Now and then more than what was held.
        const body = { amount: amount(Math.ceil(hold.amount * 1.2)), ...(!final && { final }) }
        return make('commit', hold.wallet, `/v1/reservations/${hold.id}/commit`, body)
      }
      if (hold) return make('release', hold.wallet, `/v1/reservations/${hold.id}/release`, {})
    } else if (dice < 0.48) {
      const charge = take(charges)
      const body = random.chance(0.5) ? {} : { amount: amount(AMOUNT_MICRO_MAX) }
      if (charge) return make('refund', charge.wallet, `/v1/charges/${charge.id}/refund`, body)
    } else if (dice < 0.65) return make('charge', wallet, '/v1/charges', { wallet, amount: amount(AMOUNT_MICRO_MAX) })
    return make('reserve', wallet, '/v1/reservations', { wallet, amount: amount(AMOUNT_MICRO_MAX), ttl_seconds: TTL_SECONDS })
  }

  function settle(sent: Sent, told: NonNullable<Reply['told']>): void {
    journal.told(sent.id, told)
    if (told.status >= 300) {
      refused += 1
      return
    }
    acknowledged += 1
    const now = performance.now()
    silenceMs = Math.max(silenceMs, now - acknowledgedAt)
    acknowledgedAt = now
    while (milestones[0] && acknowledged >= milestones[0].at) milestones.shift()?.resolve()
    if (sent.operation !== 'reserve' && sent.operation !== 'commit' && sent.operation !== 'charge') return
    const { id, amount: held } = JSON.parse(told.text) as Body
    if (sent.operation === 'reserve') {
      if (holds.length < OPEN_MAX) holds.push({ id, wallet: sent.wallet, amount: Math.round(Number(held) * 1e6) })
    } else if (charges.length < OPEN_MAX) charges.push({ id, wallet: sent.wallet })
  }

  /** One command, to its answer or until it is left. */
  async function carry(sent: Sent, home: number): Promise<void> {
    journal.sending(sent)
    for (let tries = 0; ; tries += 1) {
      const n = (home + tries) % bases.length
      const sentAt = performance.now()
      const reply = await sender.send(bases[n] as string, sent)
      if (reply.told) {
        recoveries[n]?.ok(sentAt)
        settle(sent, reply.told)
        return
      }
      recoveries[n]?.failed(sentAt)
      failures.set(reply.why, (failures.get(reply.why) ?? 0) + 1)
      if (!reply.isUnsent) journal.info(sent.id, reply.why)
      if (stopped || (!reply.isUnsent && random.chance(LEFT))) return
      const isLast = n === (home + bases.length - 1) % bases.length
      if (!reply.isUnsent || isLast) await sleep(PAUSE_MS + PAUSE_MS_SPREAD * random.next())
    }
  }

  const running = Array.from({ length: clients }, async (_, home) => {
    while (!stopped) await carry(draw(), home)
  })
  return {
    wallets,
    get acknowledged() {
      return acknowledged
    },
    get refused() {
      return refused
    },
    get silenceMs() {
      return silenceMs
    },
    failures,
    recoveries,
    reaches(at) {
      if (acknowledged >= at) return Promise.resolve()
      return new Promise((resolve) => {
        milestones.push({ at, resolve })
        milestones.sort((a, b) => a.at - b.at)
      })
    },
    async stop() {
      stopped = true
      await Promise.all(running)
      await sender.close()
    },
  }
}
