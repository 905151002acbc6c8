import type Stripe from 'stripe'
import type { World } from './world.ts'

type Type = Stripe.Event['type']

/** Tells the world what happened, with the object as it is now. */
export function emit(world: World, type: Type, object: object, previous?: object): void {
  const snapshot = JSON.parse(JSON.stringify(object))
  const event = {
    id: world.id('evt'),
    object: 'event',
    api_version: world.settings.apiVersion,
    created: world.clock.now(),
    data: previous === undefined ? { object: snapshot } : { object: snapshot, previous_attributes: previous },
    livemode: false,
    pending_webhooks: world.listeners.size,
    request: world.request ?? { id: null, idempotency_key: null },
    type,
  } as unknown as Stripe.Event
  world.tables.events.add(event)
  for (const listener of world.listeners) listener(event)
}

/** Changes an object and returns what the changed fields were before. */
export function patch<Row extends object>(row: Row, changes: Partial<Row>): Partial<Row> {
  const previous: Partial<Row> = {}
  for (const name of Object.keys(changes) as (keyof Row)[]) {
    if (JSON.stringify(row[name]) === JSON.stringify(changes[name])) continue
    previous[name] = JSON.parse(JSON.stringify(row[name] ?? null))
  }
  Object.assign(row, changes)
  return previous
}

/** Changes an object and says so, unless nothing changed. */
export function change<Row extends object>(world: World, type: Type, row: Row, changes: Partial<Row>): void {
  const previous = patch(row, changes)
  if (Object.keys(previous).length > 0) emit(world, type, row, previous)
}
