import { AMOUNT_MICRO_MAX, formatCredits, type Micro } from '../kernel/credits.ts'
import type { Draft } from '../ledger/book.ts'

/**
 * Lets an admin pass a limit on costs, with an audit row. Whether the speaker may force is settled before the lane.
 * @param cost micro-credits; more than an amount can be is nobody's to force, and no column's to hold
 */
export function forced(draft: Draft, force: boolean, cost: Micro): boolean {
  if (!force || cost > AMOUNT_MICRO_MAX) return false
  draft.record({
    action: 'charge.force',
    targetKind: 'charge',
    targetId: draft.commandId,
    reason: 'The request said force.',
    before: null,
    after: { cost: formatCredits(cost) },
  })
  return true
}
