import pg from 'pg'
import type { Charge } from '../../src/charges/charge.ts'
import { chargeStore } from '../../src/charges/store-pg.ts'
import type { Grant } from '../../src/grants/grant.ts'
import { grantStore } from '../../src/grants/store-pg.ts'
import { createBatchStore } from '../../src/ledger/batch-pg.ts'
import type { Command } from '../../src/ledger/command.ts'
import { Lane } from '../../src/ledger/lane.ts'
import { Places } from '../../src/ledger/places.ts'
import type { BatchStore, RowStore } from '../../src/ledger/store.ts'
import { drawsFromJson, type Transaction } from '../../src/ledger/transaction.ts'
import type { Wallet } from '../../src/ledger/wallet.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { reservationStore } from '../../src/reservations/store-pg.ts'
import { COARSE, makeWorld, type Raw, type RawList, Resolver } from './commands.ts'
import { type Clock, expectedAnswer, type GrantNames, priceBook, readAnswer, renderRefusal, show, toCommand } from './drive.ts'
import { broken, brokenWhole, type WalletBook } from './invariants.ts'
import type { OCommand } from './oracle.ts'
import { compare, Disagreement, type Tally } from './run-decide.ts'

/**
 * Lists of commands through the real lane on PostgreSQL. The database's clock runs by itself, so a list's clock is moved the other
 * way round: its wallets are idle then, and the times in their rows go back by as much. Commands lie at whole hours and
 * deadlines at half hours, so that the seconds which a run takes never matter.
 */

const types: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === 20) return (text: string) => BigInt(text)
    if (oid === 1184) return (text: string) => Date.parse(`${text.replace(' ', 'T')}:00`)
    return pg.types.getTypeParser(oid, format as 'text')
  },
} as pg.CustomTypesConfig

export interface Stage {
  readonly lane: Lane
  readonly pool: pg.Pool
  close(): Promise<void>
}

/** @param stores batches that may be under way at once */
export function openStage(url: string, stores: number, tally: Tally): Stage {
  const pool = new pg.Pool({ connectionString: url, max: 4, types, options: '-c TimeZone=UTC' })
  const places = new Places()
  const make = (n: number): BatchStore => {
    const store = createBatchStore({
      url,
      name: `properties ${n}`,
      stores: [grantStore, chargeStore, reservationStore] as unknown as RowStore[],
      renderRefusal,
      places,
    })
    return {
      transact(batch, avoid) {
        tally.batch(batch.length)
        return store.transact(batch, avoid)
      },
      close: () => store.close(),
    }
  }
  const complaints: string[] = []
  const complain = (fields: object, message: string) =>
    complaints.push(`${message}: ${JSON.stringify(fields, (_, value) => (value instanceof Error ? value.message : value))}`)
  const lane = new Lane(
    Array.from({ length: stores }, (_, n) => make(n)),
    make(stores),
    places,
    { warn: complain, error: complain },
  )
  return {
    lane,
    pool,
    async close() {
      await lane.stop()
      await pool.end()
      if (complaints.length > 0) throw new Error(`the lane complained: ${complaints.join('; ')}`)
    },
  }
}

const START = 1_800_000_000_000

/** One list under way. */
export class Player {
  readonly #stage: Stage
  readonly #tally: Tally
  readonly #resolver: Resolver
  readonly #raws: readonly Raw[]
  readonly #names: GrantNames = new Map()
  readonly story: string[] = []
  #at = 0
  #waiting: OCommand | null = null
  readonly answers: string[] = []

  private constructor(stage: Stage, list: RawList, number: number, tally: Tally) {
    this.#stage = stage
    this.#tally = tally
    this.#raws = list.raws
    // Amounts at the very top belong to the test of the decisions: see finding O5.
    const flavour = list.flavour % 25 === 24 ? list.flavour - 1 : list.flavour
    this.#resolver = new Resolver(makeWorld(number, true), COARSE, flavour, START)
  }

  /** The list's times in the database's, as of a command: one reading, so that equal times stay equal. */
  #clock(): Clock {
    const difference = Date.now() - this.#resolver.oracle.now
    return { toReal: (instant) => instant + difference }
  }

  static async open(stage: Stage, list: RawList, number: number, tally: Tally): Promise<Player> {
    const player = new Player(stage, list, number, tally)
    const { world } = player.#resolver
    const { clientA, clientB, wallets } = world
    await stage.pool.query('insert into clients (id, name, created_at) select id, id::text, now() from unnest($1::uuid[]) as id', [
      [clientA, clientB],
    ])
    await stage.pool.query(
      `insert into wallets (id, client_id, owner_kind, owner_id, created_at, updated_at)
       select v.*, now(), now() from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as v`,
      [wallets.map((w) => w.id), wallets.map((w) => w.client), wallets.map((w) => w.ownerKind), wallets.map((w) => w.ownerId)],
    )
    tally.lists += 1
    return player
  }

  get over(): boolean {
    return this.#at >= this.#raws.length && this.#waiting === null
  }

  /**
   * The next command and what the oracle says of it; null at the end, or when the command names what another of `under way` makes and
   * so cannot be spoken before that is answered, or when the clock moves, for which the wallets must be idle.
   */
  async next(underWay: ReadonlySet<string>): Promise<{ command: Command; expected: string } | null> {
    if (!this.#waiting) {
      const raw = this.#raws[this.#at]
      if (!raw) return null
      const step = this.#resolver.next(raw)
      this.#at += 1
      if (step.kind !== 'command') {
        this.story.push(step.kind === 'advance' ? `clock +${step.by / 3_600_000} h` : `new price: ${step.what}`)
        this.#tally.count(this.#tally.verbs, step.kind)
        if (step.kind === 'price') await this.#advance(COARSE.stepMs)
        else await this.#shift(step.by)
        return this.next(underWay)
      }
      this.#tally.count(this.#tally.verbs, step.note)
      this.#waiting = step.command
    }
    if (namesOne(this.#waiting, underWay)) return null
    const asked = this.#waiting
    this.#waiting = null
    const answer = this.#resolver.oracle.run(asked)
    this.#tally.commands += 1
    if (answer.replayed) this.#tally.replays += 1
    if (answer.code === 'ok') this.#tally.accepted += answer.replayed ? 0 : 1
    else this.#tally.count(this.#tally.codes, answer.code)
    this.story.push(show(asked))
    const clock = this.#clock()
    return {
      command: toCommand(asked, priceBook(this.#resolver.oracle.prices, clock), this.#names, clock),
      expected: expectedAnswer(answer, clock),
    }
  }

  /** Whether the next step moves the clock or the prices, for which the list's commands must have been answered. */
  get mustBeIdle(): boolean {
    return this.#waiting === null && this.#at < this.#raws.length && this.#resolver.movesTime(this.#raws[this.#at] as Raw)
  }

  async #advance(by: number): Promise<void> {
    this.#resolver.oracle.now += by
    await this.#shift(by)
  }

  async #shift(by: number): Promise<void> {
    await this.#stage.pool.query({
      name: 'shift',
      text: `with r as (
          update reservations set expires_at = expires_at - $2::interval, created_at = created_at - $2::interval where wallet_id = any($1::uuid[])
        )
        update grants set effective_at = effective_at - $2::interval, expires_at = expires_at - $2::interval, created_at = created_at - $2::interval
        where wallet_id = any($1::uuid[])`,
      values: [this.#resolver.world.wallets.map((wallet) => wallet.id), `${by} milliseconds`],
    })
  }

  /** The sweeps that a job would do: no hold is left open past its deadline. */
  sweeps(): { command: Command; expected: string }[] {
    const { oracle, world } = this.#resolver
    const overdue = [...oracle.wallets.values()].flatMap((wallet) =>
      wallet.holds.filter((hold) => hold.status === 'held' && hold.expiresAt <= oracle.now),
    )
    return overdue.map(({ id }, index) => {
      const action = { verb: 'expire', hold: id } as const
      const asked: OCommand = { id: world.commandId(1_000_000 + index), client: '', everyClient: true, key: null, fingerprint: '', action }
      this.story.push(show(asked))
      const clock = this.#clock()
      const expected = expectedAnswer(oracle.run(asked), clock)
      return { command: toCommand(asked, priceBook(oracle.prices, clock), this.#names, clock), expected }
    })
  }

  check(expected: string, told: string): void {
    this.answers.push(told)
    if (told !== expected) throw new Disagreement(`the lane answers\n  ${told}\nwhere the oracle has\n  ${expected}`, this.story)
  }

  /** The list's wallets in the database against the oracle's, and the invariants over them. */
  async finish(): Promise<WalletBook[]> {
    const { world, oracle } = this.#resolver
    const books = await readBooks(
      this.#stage.pool,
      world.wallets.map((wallet) => wallet.id),
    )
    for (const book of books) {
      const wallet = oracle.wallets.get(book.wallet.id)
      if (!wallet) throw new Error('a wallet too many')
      const fault = compare(wallet, book, null) ?? broken(book, Date.now())
      if (fault) throw new Disagreement(fault, this.story)
    }
    const fault = brokenWhole(books)
    if (fault) throw new Disagreement(fault, this.story)
    return books
  }
}

function namesOne({ action }: OCommand, underWay: ReadonlySet<string>): boolean {
  if ('hold' in action) return underWay.has(action.hold)
  if ('charge' in action) return underWay.has(action.charge)
  return 'born' in action && underWay.has(action.born)
}

async function readBooks(pool: pg.Pool, ids: readonly string[]): Promise<WalletBook[]> {
  const read = async <Row>(columns: string, table: string, order = 'id') => {
    const { rows } = await pool.query({
      name: `read_${table}`,
      text: `select ${columns} from ${table} where ${table === 'wallets' ? 'id' : 'wallet_id'} = any($1::uuid[]) order by ${order}`,
      values: [ids],
    })
    return rows as Row[]
  }
  const [wallets, grants, reservations, charges, transactions] = await Promise.all([
    read<Wallet>(
      `id, client_id as "clientId", balance, held, debt, overdraft_limit as "overdraftLimit", status, version, transaction_seq as "transactionSeq", head_hash as "headHash"`,
      'wallets',
    ),
    read<Grant>(
      `wallet_id as "walletId", id, kind, amount, remaining, held, priority, effective_at as "effectiveAt", expires_at as "expiresAt", posted_at as "postedAt", voided_at as "voidedAt",
       spent_at as "spentAt", created_at as "createdAt"`,
      'grants',
    ),
    read<Reservation & { draws: [] }>(
      `wallet_id as "walletId", id, status, requested, amount, captured, released, cost, draws, usage_total as "usageTotal", expires_at as "expiresAt", created_at as "createdAt",
       finalized_at as "finalizedAt"`,
      'reservations',
    ),
    read<Charge & { draws: []; payees: { amount: string }[] | null }>(
      `wallet_id as "walletId", id, reservation_id as "reservationId", cost, captured, overage, uncollected, refunded, final, late, quote, draws, payees`,
      'charges',
    ),
    read<Transaction>(
      `wallet_id as "walletId", seq, id, kind, amount, counter_account as "counterAccount", balance_after as "balanceAfter", draws::text, charge_id as "chargeId",
       reservation_id as "reservationId", reverses_id as "reversesId", client_id as "clientId", actor, reference, metadata::text, occurred_at as "occurredAt", created_at as "createdAt", hash`,
      'transactions',
      'wallet_id, seq',
    ),
  ])
  return wallets.map((wallet) => {
    const of = <Row extends { walletId: string }>(rows: Row[]) => rows.filter((row) => row.walletId === wallet.id)
    return {
      wallet,
      grants: of(grants),
      reservations: of(reservations).map((row) => ({ ...row, pins: drawsFromJson(row.draws) })),
      charges: of(charges).map((row) => ({
        ...row,
        draws: drawsFromJson(row.draws as never),
        earnings: (row.payees ?? []).map((payee) => ({ walletId: '', sharePpm: 0n, amount: BigInt(payee.amount) })),
      })) as Charge[],
      transactions: of(transactions),
    }
  })
}

/** Plays one list, each command answered before the next is spoken. */
export async function playAlone(stage: Stage, list: RawList, number: number, tally: Tally): Promise<void> {
  const player = await Player.open(stage, list, number, tally)
  const nobody: ReadonlySet<string> = new Set()
  for (let turn = await player.next(nobody); turn; turn = await player.next(nobody)) {
    player.check(turn.expected, readAnswer(await stage.lane.submit(turn.command)))
  }
  for (const { command, expected } of player.sweeps()) player.check(expected, readAnswer(await stage.lane.submit(command)))
  await player.finish()
}

/**
 * Plays several lists together in batches of a size, as full as they can be when a command may not name what has not been answered yet.
 * @param size 0 for random sizes
 * @returns each list's answers and ledger, for comparison with other sizes
 */
export async function playTogether(
  stage: Stage,
  lists: readonly RawList[],
  numbers: readonly number[],
  size: number,
  tally: Tally,
): Promise<string[]> {
  const players = await Promise.all(lists.map((list, index) => Player.open(stage, list, numbers[index] as number, tally)))
  let turn = 0
  while (players.some((player) => !player.over)) {
    const wanted = size > 0 ? size : 1 + ((turn * 7919) % 61)
    const batch: { player: Player; command: Command; expected: string }[] = []
    // The lists take turns in who comes first, so that in small batches, too, all get on.
    for (let n = 0; n < players.length && batch.length < wanted; n += 1) {
      const player = players[(turn + n) % players.length] as Player
      const underWay = new Set<string>()
      while (batch.length < wanted && !(underWay.size > 0 && player.mustBeIdle)) {
        const next = await player.next(underWay)
        if (!next) break
        underWay.add(next.command.id)
        batch.push({ player, ...next })
      }
    }
    turn += 1
    if (batch.length === 0) continue
    const answers = await Promise.all(stage.lane.submitAll(batch.map(({ command }) => command)))
    for (const [index, answer] of answers.entries()) batch[index]?.player.check(batch[index].expected, readAnswer(answer))
  }
  const results: string[] = []
  for (const player of players) {
    const books = await player.finish()
    const ledger = books.map((book) =>
      book.transactions.map((row) => `${row.seq} ${row.kind} ${row.amount} ${row.counterAccount} ${row.balanceAfter}`).join('\n'),
    )
    results.push([...player.answers, ...ledger].join('\n'))
  }
  return results
}
