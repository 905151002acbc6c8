import type { GrantReads } from '../grants/reads-prisma.ts'
import { settle } from '../grants/settle.ts'
import { newId } from '../kernel/ids.ts'
import type { Speaker } from '../ledger/book.ts'
import type { Command } from '../ledger/command.ts'
import type { Lane } from '../ledger/lane.ts'
import { expire } from '../reservations/expire.ts'
import type { ReservationReads } from '../reservations/reads-prisma.ts'
import { reservations } from '../reservations/reservation.ts'

/** Due rows read at once; a backlog is worked off in as many rounds as it takes, within limits. */
const CHUNK = 500
/** Rounds of one sweep: after that other work of the lane gets its turn, and the next sweep goes on. */
const ROUNDS_MAX = 40

export interface SweepPorts {
  readonly lane: Pick<Lane, 'submitAll'>
  readonly reservations: Pick<ReservationReads, 'due'>
  readonly grants: Pick<GrantReads, 'due'>
}

export interface Swept {
  /** Holds that were found past their deadline. */
  readonly holds: number
  /** Wallets with grants that were due to take effect or to expire. */
  readonly wallets: number
}

/**
 * Ends holds past their deadline and settles wallets whose grants are due. It only finds them: what becomes of each is decided by
 * the lane under the wallet's lock, so any number of processes may sweep at once.
 */
export async function sweep(ports: SweepPorts): Promise<Swept> {
  const holds = await inRounds(
    () => ports.reservations.due(CHUNK),
    (due) => ports.lane.submitAll(due.map(({ walletId, id }) => expireCommand(walletId, id))),
  )
  const wallets = await inRounds(
    () => ports.grants.due(CHUNK),
    (due) => ports.lane.submitAll(due.map(settleCommand)),
  )
  return { holds, wallets }
}

async function inRounds<Due>(read: () => Promise<Due[]>, submit: (due: readonly Due[]) => Promise<unknown>[]): Promise<number> {
  let total = 0
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const due = await read()
    if (due.length === 0) break
    await Promise.all(submit(due))
    total += due.length
    if (due.length < CHUNK) break
  }
  return total
}

const TIME: Speaker = { clientId: null, everyClient: true, actor: 'system:time', requestId: 'job:sweep' }

function expireCommand(walletId: string, id: string): Command {
  return {
    name: 'expire',
    id: newId(),
    speaker: TIME,
    wallets: [],
    rows: [{ table: reservations, id }],
    idempotency: null,
    decide(draft) {
      const ended = expire(draft, walletId, id)
      return { ok: true, status: 200, effectId: id, walletId, body: { ended } }
    },
  }
}

function settleCommand(walletId: string): Command {
  return {
    name: 'settle',
    id: newId(),
    speaker: TIME,
    wallets: [{ id: walletId }],
    rows: [],
    idempotency: null,
    decide(draft) {
      settle(draft, walletId)
      return { ok: true, status: 200, effectId: walletId, walletId, body: {} }
    },
  }
}
