/**
 * A Stripe for tests: over real HTTP, so that the real library talks to it, and in memory. It keeps Stripe's shapes and Stripe's order
 * of events as far as billing needs them; what it does not know it refuses, so that no test passes because something was ignored.
 *
 *   const stripe = new Stripe(server.apiKey, { host: server.host, port: server.port, protocol: server.protocol })
 */
import { type Controls, createControls } from './controls.ts'
import { createFaults } from './faults.ts'
import { listen, type RequestRecord } from './server.ts'
import { createWorld, type Settings } from './world.ts'

export { type CardName, cards, declining, type TestCard } from './cards.ts'
export type { Controls } from './controls.ts'
export { type AutoDelivery, webhookPayload } from './deliver.ts'
export type { ArmedFault, Fault, FaultRule } from './faults.ts'
export type { RequestRecord } from './server.ts'
export { type SignOptions, signWebhook } from './sign.ts'

export interface TestStripeOptions {
  readonly apiKey?: string
  /** What events say that they are of. */
  readonly apiVersion?: string
  readonly dunning?: Partial<Settings['dunning']>
  /** Part of every id: random, unless a test wants the same ids each time. */
  readonly seed?: string
}

export interface TestStripe {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly protocol: 'http'
  readonly apiKey: string
  readonly controls: Controls
  close(): Promise<void>
}

export async function startTestStripe(options: TestStripeOptions = {}): Promise<TestStripe> {
  const settings: Settings = {
    apiKey: options.apiKey ?? 'sk_test_farebox',
    apiVersion: options.apiVersion ?? '2026-10-28.endive',
    dunning: { attemptsMax: 4, endsAs: 'canceled', ...options.dunning },
  }
  const world = createWorld(settings, options.seed)
  const faults = createFaults()
  const requests: RequestRecord[] = []
  const { port, close } = await listen(world, faults, requests)
  const host = '127.0.0.1'
  return {
    ...{ url: `http://${host}:${port}`, host, port, protocol: 'http' },
    apiKey: settings.apiKey,
    controls: createControls(world, faults, requests),
    close,
  }
}
