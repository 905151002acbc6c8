import type { Provider } from './payment.ts'

/** An event as the provider sent it, its signature verified. */
export interface ProviderEvent {
  readonly provider: Provider
  readonly id: string
  readonly type: string
  /** What it is about; null where there is nothing to read. */
  readonly subject: string | null
  /** Why somebody has to look at it although nothing of it can be read, if so. */
  readonly unreadable?: string | null
  /** The JSON text. */
  readonly payload: string
  readonly livemode: boolean
  readonly occurredAt: Date
}

export type EventStatus = 'received' | 'processed' | 'ignored' | 'parked' | 'dismissed'

/** An event as it is shown: without what the provider sent, which nobody reads. */
export interface StoredEvent extends Omit<ProviderEvent, 'payload' | 'unreadable'> {
  readonly status: EventStatus
  readonly reason: string | null
  readonly attempts: number
  readonly receivedAt: Date
  readonly processedAt: Date | null
  /** Who looked at it and found that there is nothing to do. */
  readonly dismissedBy: string | null
}

/** An event as it is worked off. */
export type DueEvent = Pick<StoredEvent, 'provider' | 'id' | 'type' | 'subject' | 'livemode' | 'attempts'>

export interface Inbox {
  /** Stores an event that is new. @returns whether it was */
  receive(event: ProviderEvent): Promise<boolean>
  /**
   * Takes events whose time has come, so that no other process works on them for a while.
   * @param leaseMs after which they count as left by a process that died
   */
  claim(limit: number, leaseMs: number): Promise<DueEvent[]>
  /** Writes down what became of events. */
  finish(
    events: readonly Pick<StoredEvent, 'provider' | 'id'>[],
    status: Exclude<EventStatus, 'received' | 'dismissed'>,
    reason: string | null,
  ): Promise<void>
  /** Nobody has to look any more at what was parked about this: it is as the provider says. */
  settle(provider: Provider, subjects: readonly string[]): Promise<void>
  /** Puts in what was found without an event: to be tried again, or for a person to look at. What somebody dismissed stays so, unless it cannot be read. */
  report(found: {
    readonly provider: Provider
    readonly livemode: boolean
    readonly subject: string
    readonly status: 'received' | 'parked'
    readonly reason: string
  }): Promise<void>
  /** Removes what was done with long ago. @returns how many */
  clearOld(): Promise<number>
  /** Puts events back, to be tried again after so long. */
  postpone(events: readonly Pick<StoredEvent, 'provider' | 'id'>[], ms: number, reason: string): Promise<void>
}
