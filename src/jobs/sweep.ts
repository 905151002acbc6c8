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
  readonly lane: Pick<Lane, 'submitEach'>
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
 * the lane under the wallet's lock, so any number of processes may sweep at once. A wallet that somebody else holds locked is left
 * out of this sweep; the others are not kept waiting by it.
 * @throws AggregateError when all others are done, with what the lane said of those that are left
 */
export async function sweep(ports: SweepPorts): Promise<Swept> {
  const faults: unknown[] = []
  const holds = await inRounds(
    (without) => ports.reservations.due(CHUNK, without),
    ({ walletId }) => walletId,
    (due) => ports.lane.submitEach(due.map(({ walletId, id }) => expireCommand(walletId, id))),
    faults,
  )
  const wallets = await inRounds(
    (without) => ports.grants.due(CHUNK, without),
    (walletId) => walletId,
    (due) => ports.lane.submitEach(due.map(settleCommand)),
    faults,
  )
  if (faults.length > 0) throw new AggregateError(faults, `${faults.length} due rows could not be worked off`)
  return { holds, wallets }
}

/** Works off what is due, round by round. @param faults takes up what could not be done */
async function inRounds<Due>(
  read: (withoutWallets: readonly string[]) => Promise<Due[]>,
  walletOf: (due: Due) => string,
  submit: (due: readonly Due[]) => Promise<unknown>[],
  faults: unknown[],
): Promise<number> {
  const without = new Set<string>()
  let total = 0
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const due = await read([...without])
    if (due.length === 0) break
    for (const [index, result] of (await Promise.allSettled(submit(due))).entries()) {
      if (result.status === 'fulfilled') {
        total += 1
      } else {
        without.add(walletOf(due[index] as Due))
        faults.push(result.reason)
      }
    }
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
