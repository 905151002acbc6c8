import type { Load, RowStore } from '../ledger/store.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../platform/sql.ts'
import { type Grant, type GrantKind, grants } from './grant.ts'

interface GrantSqlRow {
  readonly wallet_id: string
  readonly id: string
  readonly kind: GrantKind
  readonly amount: bigint
  readonly remaining: bigint
  readonly held: bigint
  readonly priority: number
  readonly effective_at: number
  readonly expires_at: number | null
  readonly cost_basis: string | null
  readonly source: string | null
  readonly reference: string | null
  readonly client_id: string | null
  readonly posted_at: number | null
  readonly voided_at: number | null
  readonly spent_at: number | null
  readonly created_at: number
}

const fields = `g.wallet_id, g.id, g.kind, g.amount, g.remaining, g.held, g.priority, g.effective_at, g.expires_at,
  g.cost_basis::text, g.source, g.reference, g.client_id, g.posted_at, g.voided_at, g.spent_at, g.created_at`

function fromRow(row: GrantSqlRow): Grant {
  return {
    walletId: row.wallet_id,
    id: row.id,
    kind: row.kind,
    amount: row.amount,
    remaining: row.remaining,
    held: row.held,
    priority: row.priority,
    effectiveAt: row.effective_at,
    expiresAt: row.expires_at,
    costBasis: row.cost_basis,
    source: row.source,
    reference: row.reference,
    clientId: row.client_id,
    postedAt: row.posted_at,
    voidedAt: row.voided_at,
    spentAt: row.spent_at,
    createdAt: row.created_at,
  }
}

const insertColumns: readonly Column<Grant>[] = [
  ['wallet_id', 'uuid', (g) => g.walletId],
  ['id', 'uuid', (g) => g.id],
  ['kind', 'text', (g) => g.kind],
  ['amount', 'bigint', (g) => g.amount],
  ['remaining', 'bigint', (g) => g.remaining],
  ['held', 'bigint', (g) => g.held],
  ['priority', 'integer', (g) => g.priority],
  ['effective_at', 'timestamptz', (g) => g.effectiveAt],
  ['expires_at', 'timestamptz', (g) => g.expiresAt],
  ['cost_basis', 'json', (g) => g.costBasis],
  ['source', 'text', (g) => g.source],
  ['reference', 'text', (g) => g.reference],
  ['client_id', 'uuid', (g) => g.clientId],
  ['posted_at', 'timestamptz', (g) => g.postedAt],
  ['voided_at', 'timestamptz', (g) => g.voidedAt],
  ['spent_at', 'timestamptz', (g) => g.spentAt],
  ['created_at', 'timestamptz', (g) => g.createdAt],
]

const updateColumns: readonly Column<Grant>[] = [
  ['wallet_id', 'uuid', (g) => g.walletId],
  ['id', 'uuid', (g) => g.id],
  ['amount', 'bigint', (g) => g.amount],
  ['remaining', 'bigint', (g) => g.remaining],
  ['held', 'bigint', (g) => g.held],
  ['expires_at', 'timestamptz', (g) => g.expiresAt],
  ['posted_at', 'timestamptz', (g) => g.postedAt],
  ['voided_at', 'timestamptz', (g) => g.voidedAt],
  ['spent_at', 'timestamptz', (g) => g.spentAt],
]

/** Grants that are not spent, of every wallet of the batch. */
function openGrants(walletIds: readonly string[]): Load<Grant> {
  return {
    table: grants,
    statement: {
      name: 'grants_open',
      text: `select ${fields} from grants g where g.wallet_id = any($1::uuid[]) and g.spent_at is null`,
      values: [uuids(walletIds)],
    },
    fromRow,
  }
}

/** Grants that a command names, spent or not. */
function namedGrants(ids: readonly string[]): Load<Grant> {
  return {
    table: grants,
    statement: {
      name: 'grants_named',
      text: `select ${fields} from grants g where g.id = any($1::uuid[])`,
      values: [uuids(ids)],
    },
    fromRow,
  }
}

/** Grants, spent or not, that the rows of another room name. @param named selects `wallet_id, grant_id` of them */
function grantsNamedIn(name: string, named: string, values: Load['statement']['values']): Load<Grant> {
  return {
    table: grants,
    statement: {
      name,
      // `offset 0` keeps the planner from joining all grants of the wallet first: their number grows with its past.
      text: `select ${fields} from (${named} offset 0) as named join grants g on g.wallet_id = named.wallet_id and g.id = named.grant_id`,
      values,
    },
    fromRow,
  }
}

/** The grants that charges were paid from: a refund gives back to them. */
export function grantsOfCharges(chargeIds: readonly string[]): Load<Grant> {
  const drawn = `select c.wallet_id, (d->>'grant')::uuid as grant_id
    from charges c cross join json_array_elements(c.draws) as d where c.id = any($1::uuid[])`
  return grantsNamedIn('grants_of_charges', drawn, [uuids(chargeIds)])
}

/** The grants of orders, and those that credits were taken back from. */
export function grantsOfPayments(paymentIds: readonly string[]): Load<Grant> {
  const named = `select p.wallet_id, unnest(array[p.grant_id, p.bonus_grant_id, p.promotion_grant_id]) as grant_id from payments p where p.id = any($1::uuid[])
    union select p.wallet_id, (part->>'grant')::uuid from payments p cross join json_array_elements(p.taken) as part where p.id = any($1::uuid[])`
  return grantsNamedIn('grants_of_payments', named, [uuids(paymentIds)])
}

export const grantStore: RowStore<Grant> = {
  table: grants,
  locate: (ids) => ({
    name: 'grants_locate',
    text: 'select id, wallet_id from grants where id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (walletIds, ids) => (ids.length === 0 ? [openGrants(walletIds)] : [openGrants(walletIds), namedGrants(ids)]),
  insert: insertStatement('grants', insertColumns),
  update: updateStatement('grants', 2, updateColumns),
}
