import type { Micro } from '../kernel/credits.ts'
import { MICRO_PER_CREDIT } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'

/** What is sold: so many credits and some on top, for a price. A version is never changed; the newest whose time has come is on sale. */
export interface Package {
  readonly id: string
  /** `basic` */
  readonly package: string
  readonly name: string
  readonly currency: string
  /** Of the currency's smallest unit. */
  readonly amount: bigint
  readonly credits: Micro
  readonly bonus: Micro
  readonly enabled: boolean
  readonly effectiveFrom: Instant
}

export type NewPackage = Omit<Package, 'id' | 'effectiveFrom'>

function seed(id: string, name: string, credits: bigint, bonus: bigint, dollars: bigint): NewPackage {
  return {
    package: id,
    name,
    currency: 'USD',
    amount: dollars * 100n,
    credits: credits * MICRO_PER_CREDIT,
    bonus: bonus * MICRO_PER_CREDIT,
    enabled: true,
  }
}

/** The first list of packages; an admin changes it. */
export const PACKAGE_SEED: readonly NewPackage[] = [
  seed('starter', 'Starter', 1_000n, 0n, 10n),
  seed('basic', 'Basic', 5_000n, 500n, 45n),
  seed('pro', 'Pro', 12_000n, 1_500n, 100n),
  seed('business', 'Business', 30_000n, 5_000n, 225n),
  seed('enterprise', 'Enterprise', 100_000n, 20_000n, 700n),
]
