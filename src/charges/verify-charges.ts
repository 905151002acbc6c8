import { formatCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { recompute } from '../pricing/recompute.ts'
import type { ChargeReads } from './reads-prisma.ts'

const PAGE = 1_000
const EXAMPLES_MAX = 10

export interface ChargesVerified {
  readonly charges: number
  readonly different: number
  /** The first few, as a person reads them. */
  readonly examples: readonly string[]
}

/** Works every charge out again from the stored versions of prices, one page after the other. @param onPage told how many are done */
export async function verifyCharges(
  reads: Pick<ChargeReads, 'page'>,
  book: PriceBook,
  onPage: (done: number) => void = () => {},
): Promise<ChargesVerified> {
  const examples: string[] = []
  let charges = 0
  let different = 0
  let after: string | null = null
  for (;;) {
    const page = await reads.page(after, PAGE)
    for (const charge of page) {
      const { cost, missing } = recompute(book, charge.quote)
      if (cost === charge.cost) continue
      different += 1
      const found = cost === null ? `needs versions ${missing.join(', ')}` : `comes to ${formatCredits(cost)}`
      if (examples.length < EXAMPLES_MAX) examples.push(`${toWireId('charge', charge.id)} cost ${formatCredits(charge.cost)} and ${found}`)
    }
    charges += page.length
    onPage(charges)
    after = page.at(-1)?.id ?? null
    if (page.length < PAGE) return { charges, different, examples }
  }
}
