import { createHash } from 'node:crypto'
import type { Charge } from '../../src/charges/charge.ts'
import type { Grant } from '../../src/grants/grant.ts'
import type { Transaction } from '../../src/ledger/transaction.ts'
import type { Wallet } from '../../src/ledger/wallet.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'

/** One wallet and everything of it. */
export interface WalletBook {
  readonly wallet: Wallet
  readonly grants: readonly Grant[]
  readonly reservations: readonly Reservation[]
  readonly charges: readonly Charge[]
  readonly transactions: readonly Transaction[]
}

/** The canonical bytes of a ledger row (PROOF §2), written here once more so that the code's own form is checked. */
function canon(t: Transaction): string {
  const texts = [
    t.walletId,
    `${t.seq}`,
    t.id,
    t.kind,
    `${t.amount}`,
    t.counterAccount,
    `${t.balanceAfter}`,
    t.draws,
    t.chargeId,
    t.reservationId,
    t.reversesId,
    t.clientId,
    t.actor,
    t.reference,
    t.metadata,
    `${BigInt(t.occurredAt) * 1000n}`,
    `${BigInt(t.createdAt) * 1000n}`,
  ]
  return `[${texts.map((text) => (text === null ? 'null' : JSON.stringify(text))).join(',')}]`
}

/**
 * The invariants of DESIGN §11 and PROOF §2 that one wallet can show.
 * @param ledgerFrom rows before this index were checked before: the ledger only grows
 * @returns the first that is broken, or null
 */
export function broken({ wallet, grants, reservations, charges, transactions }: WalletBook, now: number, ledgerFrom = 0): string | null {
  const say = (what: string) => `${what} (wallet ${wallet.id})`
  let total = ledgerFrom > 0 ? (transactions[ledgerFrom - 1] as Transaction).balanceAfter : 0n
  let head = ledgerFrom > 0 ? (transactions[ledgerFrom - 1] as Transaction).hash : null
  for (let i = ledgerFrom; i < transactions.length; i += 1) {
    const row = transactions[i] as Transaction
    if (row.amount === 0n) return say('a ledger row of nothing')
    if (row.seq !== BigInt(i + 1)) return say(`I02 seq ${row.seq} at place ${i + 1}`)
    total += row.amount
    if (row.balanceAfter !== total) return say(`I02 balance_after ${row.balanceAfter}, running sum ${total}`)
    const sha = createHash('sha256')
    if (head) sha.update(head)
    const expected = sha.update(canon(row)).digest()
    if (!expected.equals(row.hash)) return say(`I19 hash of row ${row.seq}`)
    head = row.hash
  }
  if (wallet.balance !== total) return say(`I01 balance ${wallet.balance}, Σ transactions ${total}`)
  if (wallet.transactionSeq !== BigInt(transactions.length)) return say('I02 transaction_seq')
  if (head === null ? wallet.headHash !== null : !wallet.headHash?.equals(head)) return say('I19 head')

  let remaining = 0n
  let pinned = 0n
  let free = 0n
  for (const grant of grants) {
    remaining += grant.remaining
    pinned += grant.held
    if (!(0n <= grant.held && grant.held <= grant.remaining && grant.remaining <= grant.amount)) return say(`I06 grant ${grant.id}`)
    if (grant.postedAt === null && grant.remaining !== 0n) return say(`scheduled grant ${grant.id} is in figures`)
    if (grant.spentAt !== null && grant.remaining !== 0n) return say(`spent grant ${grant.id} has credits`)
    if (grant.spentAt === null && grant.remaining === 0n && (grant.postedAt !== null || grant.voidedAt !== null))
      return say(`empty grant ${grant.id} is live`)
    if (grant.effectiveAt <= now && (grant.expiresAt === null || grant.expiresAt > now)) free += grant.remaining - grant.held
    if (grant.voidedAt !== null && grant.remaining !== grant.held) return say(`void grant ${grant.id} has free credits`)
  }
  if (wallet.debt < 0n || wallet.balance !== remaining - wallet.debt)
    return say(`I04 balance ${wallet.balance}, remaining ${remaining}, debt ${wallet.debt}`)
  if (wallet.debt > 0n && free > 0n) return say(`I07 debt ${wallet.debt} beside ${free} free`)
  // What was taken back because its payment was may go beyond every limit.
  let limit = wallet.overdraftLimit
  for (const { kind, amount } of transactions) if (kind === 'clawback' || kind === 'reinstatement') limit -= amount
  if (wallet.debt > limit) return say(`I08 debt ${wallet.debt} above ${limit}`)

  let open = 0n
  const pinsByGrant = new Map<string, bigint>()
  const charged = new Map<string, { captured: bigint; cost: bigint; finals: number }>()
  for (const charge of charges) {
    if (charge.reservationId === null) continue
    const sums = charged.get(charge.reservationId) ?? { captured: 0n, cost: 0n, finals: 0 }
    charged.set(charge.reservationId, {
      captured: sums.captured + charge.captured,
      cost: sums.cost + charge.cost,
      finals: sums.finals + (charge.final ? 1 : 0),
    })
  }
  for (const r of reservations) {
    let pins = 0n
    for (const pin of r.pins) {
      if (pin.amount <= 0n) return say(`empty pin of ${r.id}`)
      pins += pin.amount
      pinsByGrant.set(pin.grantId, (pinsByGrant.get(pin.grantId) ?? 0n) + pin.amount)
    }
    const rest = r.amount - r.captured - r.released
    if (r.captured < 0n || r.released < 0n || rest < 0n) return say(`I09 reservation ${r.id}`)
    if (r.status === 'held') open += rest
    if (pins !== (r.status === 'held' ? rest : 0n)) return say(`pins of ${r.id} are ${pins}, open ${rest}`)
    if (r.status !== 'held' && rest !== 0n) return say(`I09 ${r.status} reservation ${r.id} is not settled`)
    if ((r.status === 'held') !== (r.finalizedAt === null)) return say(`I09 finalized_at of ${r.id}`)
    if (r.amount > r.requested) return say(`reservation ${r.id} holds more than was asked for`)
    const sums = charged.get(r.id) ?? { captured: 0n, cost: 0n, finals: 0 }
    if (sums.captured !== r.captured || sums.cost !== r.cost) return say(`I10 captures of ${r.id}`)
    if (sums.finals !== (r.status === 'committed' ? 1 : 0)) return say(`I13 ${sums.finals} finals of a ${r.status} reservation ${r.id}`)
    charged.delete(r.id)
  }
  if (charged.size > 0) return say('I10 a charge of a reservation that is not there')
  if (wallet.held !== open || wallet.held !== pinned) return say(`I05 held ${wallet.held}, open ${open}, pinned ${pinned}`)
  for (const grant of grants) {
    if ((pinsByGrant.get(grant.id) ?? 0n) !== grant.held) return say(`grant ${grant.id} holds ${grant.held}, pins say otherwise`)
  }

  const rows = new Map<string, { charge: bigint; uncollected: bigint; refund: bigint; clearing: bigint }>()
  for (const t of transactions) {
    if (t.kind !== 'charge' && t.kind !== 'uncollected' && t.kind !== 'refund') continue
    const sums = rows.get(t.chargeId ?? '') ?? { charge: 0n, uncollected: 0n, refund: 0n, clearing: 0n }
    sums[t.kind] += t.amount
    if (t.kind === 'charge' && t.counterAccount === 'clearing') sums.clearing += t.amount
    if (t.kind === 'refund' && t.amount <= 0n) return say('I12 a refund of nothing')
    rows.set(t.chargeId ?? '', sums)
  }
  for (const charge of charges) {
    const { captured, overage, uncollected } = charge
    if (charge.cost !== captured + overage + uncollected || captured < 0n || overage < 0n || uncollected < 0n)
      return say(`I10 parts of ${charge.id}`)
    const sums = rows.get(charge.id) ?? { charge: 0n, uncollected: 0n, refund: 0n, clearing: 0n }
    rows.delete(charge.id)
    if (sums.charge !== -charge.cost || sums.uncollected !== uncollected) return say(`I11 rows of ${charge.id}`)
    if (sums.refund !== charge.refunded || charge.refunded > captured + overage) return say(`I12 refunds of ${charge.id}`)
    let earned = 0n
    for (const earning of charge.earnings) earned += earning.amount
    if (earned !== -sums.clearing || earned > captured + overage) return say(`earnings of ${charge.id}`)
    let drawn = 0n
    for (const draw of charge.draws) {
      if (draw.amount <= 0n) return say(`empty draw of ${charge.id}`)
      drawn += draw.amount
    }
    if (drawn < captured || drawn > captured + overage) return say(`draws of ${charge.id}`)
    const { n, d, min, exempt, usage, units, terms } = charge.quote
    // What was stated as an amount is never rounded.
    const step = usage === undefined && units === undefined ? 1n : BigInt(terms.round_to ?? 1)
    const exact = ((BigInt(n) + BigInt(d) * step - 1n) / (BigInt(d) * step)) * step
    const recomputed = exempt ? 0n : exact > BigInt(min) ? exact : BigInt(min)
    if (recomputed !== charge.cost) return say(`I20 quote of ${charge.id}: ${recomputed}, cost ${charge.cost}`)
  }
  if (rows.size > 0) return say('I11 rows of a charge that is not there')
  return null
}

/** What only the whole book shows: all accounts sum to zero, and clearing does so for each charge. */
export function brokenWhole(wallets: readonly WalletBook[]): string | null {
  let balances = 0n
  let counters = 0n
  const clearing = new Map<string, bigint>()
  for (const { wallet, transactions } of wallets) {
    balances += wallet.balance
    for (const t of transactions) {
      counters -= t.amount
      if (t.counterAccount !== 'clearing') continue
      const name = t.chargeId ?? t.reference ?? `${t.id} alone`
      clearing.set(name, (clearing.get(name) ?? 0n) + t.amount)
    }
  }
  if (balances + counters !== 0n) return `I03 the book sums to ${balances + counters}`
  for (const [name, sum] of clearing) if (sum !== 0n) return `I03 clearing of ${name} sums to ${sum}`
  return null
}

interface KeyRecord {
  readonly operation: string
  readonly status: number
  readonly effectId: string | null
}

/** Every record of a key is one effect or one refusal, and every effect has its record (I14). */
export function brokenRecords(records: Iterable<KeyRecord>, wallets: readonly WalletBook[]): string | null {
  const effects = new Set<string>()
  const done = new Set<string>()
  for (const record of records) {
    if (record.status < 300 !== (record.effectId !== null)) return `I14 a ${record.status} with ${record.effectId ?? 'no'} effect`
    if (record.effectId === null) continue
    // A grant is the effect of the command that issued it and of the one that voided it.
    const effect = `${record.operation} ${record.effectId}`
    if (done.has(effect)) return `I14 two keys of one effect: ${effect}`
    done.add(effect)
    effects.add(record.effectId)
  }
  for (const { reservations, charges } of wallets) {
    for (const row of [...reservations, ...charges]) if (!effects.has(row.id)) return `I14 ${row.id} has no key`
  }
  return null
}
