import { formatCredits, type Micro } from '../kernel/credits.ts'
import type { Draft } from '../ledger/book.ts'

/**
 * Lets an admin pass a limit on costs, with an audit row. Whether the speaker may force is settled before the lane.
 * @param cost micro-credits
 */
export function forced(draft: Draft, force: boolean, cost: Micro): boolean {
  if (!force) return false
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
