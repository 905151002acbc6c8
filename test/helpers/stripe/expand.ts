/** `expand`: ids become objects, and lists that are left out unless asked for are put in. Works on a copy. */
import { invalid, type StripeFailure } from './failure.ts'
import { listOf } from './table.ts'
import type { Tables, World } from './world.ts'

type Node = Record<string, unknown> & { id?: string; object?: string }

/** Which fields are references, and to what. */
const REFERENCES: Readonly<Record<string, keyof Tables>> = {
  charge: 'charges',
  customer: 'customers',
  default_payment_method: 'paymentMethods',
  invoice: 'invoices',
  latest_charge: 'charges',
  latest_invoice: 'invoices',
  payment_intent: 'paymentIntents',
  payment_method: 'paymentMethods',
  product: 'products',
  setup_intent: 'setupIntents',
  subscription: 'subscriptions',
}

/** What an object has only if asked for. */
const INCLUDED: Readonly<Record<string, (world: World, id: string) => unknown>> = {
  'checkout.session.line_items': (world, id) => listOf(`/v1/checkout/sessions/${id}/line_items`, world.lineItems.get(id) ?? []),
  'charge.refunds': (world, id) =>
    listOf(`/v1/charges/${id}/refunds`, world.tables.refunds.rows.filter((row) => row.charge === id).reverse()),
  'invoice.payments': (world, id) =>
    listOf(
      '/v1/invoice_payments',
      world.tables.invoicePayments.rows.filter((row) => row.invoice === id),
    ),
  'invoice.confirmation_secret': (world, id) => {
    const payment = world.tables.invoicePayments.rows.find((row) => row.invoice === id)
    const intent = world.tables.paymentIntents.get(String(payment?.payment.payment_intent))
    return intent ? { client_secret: intent.client_secret, type: 'payment_intent' } : null
  },
}

const DEPTH_MAX = 4

export function expanded(world: World, answer: object, paths: readonly string[]): object {
  const copy = structuredClone(answer) as Node
  for (const path of paths) {
    const parts = path.split('.')
    if (parts.length > DEPTH_MAX) throw invalid(`You cannot expand more than ${DEPTH_MAX} levels of a property.`, { param: 'expand' })
    follow(world, copy, parts, path)
  }
  return copy
}

function follow(world: World, node: Node, [part, ...rest]: readonly string[], path: string): void {
  if (part === undefined) return
  const value = fieldOf(world, node, part, path)
  for (const inner of Array.isArray(value) ? value : [value])
    if (inner !== null && typeof inner === 'object') follow(world, inner as Node, rest, path)
}

function fieldOf(world: World, node: Node, part: string, path: string): unknown {
  const include = INCLUDED[`${node.object}.${part}`]
  if (include) node[part] ??= structuredClone(include(world, node.id ?? ''))
  const value = node[part]
  const kind = REFERENCES[part]
  if (typeof value === 'string') {
    const row = kind && world.tables[kind].get(value)
    if (row === undefined) throw unexpandable(path)
    node[part] = structuredClone(row)
  } else if (value === undefined) throw unexpandable(path)
  return node[part]
}

function unexpandable(path: string): StripeFailure {
  return invalid(`This property cannot be expanded (${path}).`, { param: 'expand' })
}
