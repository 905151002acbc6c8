/** What the steps of starting and ending a server share. */
import { join } from 'node:path'
import type { PlatformLog } from '../log.ts'
import type { Binaries } from './binaries.ts'
import type { Place } from './place.ts'

export const SUPERUSER = 'farebox'

/** Everything that stays the same from one start of the postmaster to the next. */
export interface Cluster {
  readonly place: Place
  readonly binaries: Binaries
  readonly settings: Readonly<Record<string, string>>
  readonly log: PlatformLog
}

export function dataOf(place: Place): string {
  return join(place.root, 'pg')
}
