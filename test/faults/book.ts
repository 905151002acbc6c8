import { createHash } from 'node:crypto'
import pg from 'pg'
import { formatCredits } from '../../src/kernel/credits.ts'
import type { Body } from '../helpers/service.ts'
import type { Entry, OperationName } from './journal.ts'

/**
 * The book as the database has it, beside what the journal says was answered. Effects are found by their `reference`, which is the
 * client's own word, and not by way of the idempotency records.
 */

interface Effect {
  readonly id: string
  /** What the answer has to say of it. */
  readonly figures: Readonly<Record<string, string | boolean | null>>
  /** Rows of the ledger that belong to it, and how many there should be. */
  readonly rows: number
  readonly rowsDue: number
}

export interface Comparison {
  acknowledged: number
  refused: number
  /** Acknowledged and not in the book. */
  readonly lost: string[]
  /** In the book more than once. */
  readonly doubled: string[]
  /** Other figures or other bytes than were answered, an effect of what was refused, versions that are not dense. */
  readonly wrong: string[]
}

const EFFECTS: Partial<Record<OperationName, string>> = {
  grant: `select g.reference, g.id, g.amount, g.kind, count(t.id)::int as rows, 1 as due from grants g
    left join transactions t on t.wallet_id = g.wallet_id and t.kind = 'grant' and t.reference = g.reference
    where g.reference like $1 and g.client_id is not null and g.kind <> 'refund' group by g.wallet_id, g.id`,
  reserve: `select reference, id, requested, 0 as rows, 0 as due from reservations where reference like $1`,
  commit: `select c.reference, c.id, c.reservation_id, c.cost, c.captured, c.overage, c.uncollected, c.final, count(t.id)::int as rows,
      (c.cost > 0)::int + (c.uncollected > 0)::int as due
    from charges c left join transactions t on t.wallet_id = c.wallet_id and t.charge_id = c.id and t.kind in ('charge', 'uncollected')
    where c.reference like $1 and c.reservation_id is not null group by c.wallet_id, c.id`,
  charge: `select c.reference, c.id, c.cost, c.captured, c.overage, c.uncollected, count(t.id)::int as rows,
      (c.cost > 0)::int + (c.uncollected > 0)::int as due
    from charges c left join transactions t on t.wallet_id = c.wallet_id and t.charge_id = c.id and t.kind in ('charge', 'uncollected')
    where c.reference like $1 and c.reservation_id is null group by c.wallet_id, c.id`,
  refund: `select reference, id, amount, charge_id, 1 as rows, 1 as due from transactions where reference like $1 and kind = 'refund'`,
}
const KINDS = { reservation_id: 'reservation', charge_id: 'charge' } as const

/**
 * Compares every command of a run with the database.
 * @param entries the journal, every command answered
 * @param edit statements that are played before and rolled back after, to see whether they are noticed
 */
export async function compare(url: string, run: string, entries: AsyncIterable<Entry>, edit = ''): Promise<Comparison> {
  const client = new pg.Client({ connectionString: url, application_name: 'test' })
  await client.connect()
  try {
    const rows = async (text: string, values: unknown[] = []): Promise<Body[]> => (await client.query(text, values)).rows
    await client.query(`begin isolation level repeatable read; ${edit}`)
    const effects = new Map<string, Effect[]>()
    for (const [operation, text] of Object.entries(EFFECTS)) {
      for (const { reference, id, rows: found, due, ...figures } of await rows(text, [`${run}-%`])) {
        const of = `${operation} ${reference}`
        effects.set(of, [...(effects.get(of) ?? []), { id, figures, rows: found, rowsDue: due }])
      }
    }
    const released = new Map(
      (await rows(`select id, released from reservations where status = 'released'`)).map((row) => [row.id, row.released as string]),
    )
    const records = new Map(
      (await rows('select operation, key, status, md5(body) as md5, effect_id from idempotency_keys where key like $1', [`${run}-%`])).map(
        (row) => [`${row.operation} ${row.key}`, row],
      ),
    )
    const wallets = new Map<string, { version: number; seen: Set<number> }>(
      (await rows('select id, version from wallets')).map((row) => [row.id, { version: Number(row.version), seen: new Set() }]),
    )
    const found: Comparison = { acknowledged: 0, refused: 0, lost: [], doubled: [], wrong: [] }

    for await (const { operation, key, told } of entries) {
      const name = `${operation} ${key}`
      const record = records.get(name)
      const made = effects.get(name) ?? []
      records.delete(name)
      effects.delete(name)
      if (!told) {
        found.wrong.push(`${name}: it has no answer`)
        continue
      }
      if (record && (record.status !== told.status || record.md5 !== md5(told.text))) found.wrong.push(`${name}: another answer is stored`)
      if (told.status >= 300) {
        found.refused += 1
        if (!record) found.lost.push(`${name}: the refusal is not stored`)
        if (made.length > 0) found.wrong.push(`${name}: refused, and done`)
        continue
      }
      found.acknowledged += 1
      const body = JSON.parse(told.text) as Body
      // A hold that was captured whole is released without a change.
      if (operation !== 'release' || body.released !== '0') {
        const { seen } = wallets.get(uuidOf(body.wallet.id)) ?? {}
        if (seen?.has(body.wallet.version)) found.doubled.push(`${name}: version ${body.wallet.version} was answered twice`)
        seen?.add(body.wallet.version)
      }
      if (operation === 'release') {
        const amount = released.get(uuidOf(body.id))
        if (amount === undefined || !record) found.lost.push(name)
        else if (formatCredits(BigInt(amount)) !== body.released) found.wrong.push(`${name}: released ${amount}`)
        continue
      }
      const [effect] = made
      if (!effect || !record || effect.rows < effect.rowsDue) found.lost.push(name)
      else if (made.length > 1 || effect.rows > effect.rowsDue) found.doubled.push(name)
      else if (effect.id !== uuidOf(body.id) || record.effect_id !== effect.id) found.wrong.push(`${name}: another effect`)
      else for (const figure of differing(effect.figures, body)) found.wrong.push(`${name}: ${figure}`)
    }

    for (const name of effects.keys()) found.doubled.push(`${name}: nobody asked for it`)
    for (const [name, record] of records) if (record.status < 300) found.doubled.push(`${name}: nobody asked for it`)
    // Each command raises its wallet's version by one: whatever else happened to the wallet would leave a gap.
    for (const [id, { version, seen }] of wallets) {
      if (seen.size > 0 && seen.size !== version - 1) found.wrong.push(`wallet ${id}: version ${version} after ${seen.size} commands`)
    }
    return found
  } finally {
    await client.end()
  }
}

function differing(figures: Effect['figures'], body: Body): string[] {
  return Object.entries(figures).flatMap(([name, value]) => {
    const kind = KINDS[name as keyof typeof KINDS]
    const shown = kind ? value : typeof value === 'string' && /^\d+$/.test(value) ? formatCredits(BigInt(value)) : value
    const told = kind ? uuidOf(body[name]) : body[name]
    return shown === told ? [] : [`${name} is ${shown} and was answered as ${told}`]
  })
}

function uuidOf(wireId: string): string {
  const digits = wireId.slice(wireId.indexOf('_') + 1)
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex')
}
