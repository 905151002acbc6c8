import { DEFAULT_CLIENT_NAME } from '../auth/create-client.ts'
import type { KeyStore } from '../auth/key-store.ts'
import { assert, fail } from '../kernel/errors.ts'
import { newId, toWireId } from '../kernel/ids.ts'
import type { Access } from '../ledger/access.ts'
import type { Answer } from '../ledger/command.ts'
import type { Lane } from '../ledger/lane.ts'
import { type Operation, toCommand } from '../ledger/operation.ts'
import type { ReservationReads } from '../reservations/reads-prisma.ts'
import type { WalletReads } from '../wallets/reads-prisma.ts'

/** The wallet that the demo shows, and what its buttons do: the part of a product's backend, played within the service. */

/** Whose wallet it is. */
export const PERSON = 'demo'
export const OWNER = { kind: 'user', id: PERSON }
export const WALLET = `${OWNER.kind}:${OWNER.id}`
const WELCOME = '100'
const GRANT = '50'
const HOLD = '10'
/** A hold that nobody settles is seen to expire. */
const HOLD_SECONDS = 120

export interface DemoServices {
  readonly lane: Pick<Lane, 'submit'>
  readonly operations: readonly Operation[]
  readonly keys: Pick<KeyStore, 'findOrCreateClient'>
  readonly wallets: Pick<WalletReads, 'open' | 'find'>
  readonly reservations: Pick<ReservationReads, 'list'>
}

export type Action = 'reserve' | 'commit' | 'release' | 'grant'

/** What the work behind a hold turns out to cost, up to the whole hold. */
export type Cost = () => string

export function demoWallet(services: DemoServices, cost: Cost) {
  /** The wallet is the default client's, so that the first admin key reaches it under its owner's name. */
  async function clientId(): Promise<string> {
    return (await services.keys.findOrCreateClient({ id: newId(), name: DEFAULT_CLIENT_NAME, createdAt: Date.now() })).id
  }

  async function run(requestId: string, name: string, body: object | null, params: object = {}): Promise<Answer> {
    const operation = services.operations.find((one) => one.name === name)
    assert(operation !== undefined, `there is no operation ${name}`)
    const speaker = { clientId: await clientId(), everyClient: false, actor: 'system:demo', requestId }
    return services.lane.submit(toCommand(operation, { speaker, isAdmin: false }, `demo:${newId()}`, params, operation.body.parse(body)))
  }

  /** @throws FareboxError `reservation_not_found` where nothing is held */
  async function newestHold(): Promise<{ reservation_id: string }> {
    const access: Access = { clientId: await clientId(), everyClient: false, userId: PERSON }
    const wallet = await services.wallets.find({ ownerKind: OWNER.kind, ownerId: OWNER.id }, access)
    const [hold] = wallet ? await services.reservations.list(wallet.id, { status: 'held' }, null, 1) : []
    if (!hold) throw fail('reservation_not_found', 'Nothing is held at present.')
    return { reservation_id: toWireId('reservation', hold.id) }
  }

  return {
    clientId,

    /** Opens the wallet where there is none yet, with a bonus to spend. */
    async open(requestId: string): Promise<void> {
      const opened = await services.wallets.open(await clientId(), OWNER, { label: 'The wallet of /demo' })
      if (opened) await run(requestId, 'grant', { wallet: WALLET, kind: 'bonus', amount: WELCOME, source: 'demo' })
    },

    /** Commit and release settle the newest hold, whichever page or program made it. */
    async act(requestId: string, action: Action): Promise<Answer> {
      switch (action) {
        case 'reserve':
          return run(requestId, 'reserve', { wallet: WALLET, amount: HOLD, ttl_seconds: HOLD_SECONDS })
        case 'commit':
          return run(requestId, 'commit', { amount: cost() }, await newestHold())
        case 'release':
          return run(requestId, 'release', null, await newestHold())
        case 'grant':
          return run(requestId, 'grant', { wallet: WALLET, kind: 'bonus', amount: GRANT, source: 'demo' })
      }
    },
  }
}

/** From 1 to 10 credits, in cents. */
export const randomCost: Cost = () => (1 + Math.random() * (Number(HOLD) - 1)).toFixed(2)
