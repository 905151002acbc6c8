import type { Provider } from './payment.ts'

/** An event as the provider sent it, its signature verified. */
export interface ProviderEvent {
  readonly provider: Provider
  readonly id: string
  readonly type: string
  /** What it is about; null where there is nothing to read. */
  readonly subject: string | null
  /** The JSON text. */
  readonly payload: string
  readonly livemode: boolean
  readonly occurredAt: Date
}

export type EventStatus = 'received' | 'processed' | 'ignored' | 'parked'

export interface StoredEvent extends ProviderEvent {
  readonly status: EventStatus
  readonly reason: string | null
  readonly attempts: number
  readonly receivedAt: Date
  readonly processedAt: Date | null
}

export interface Inbox {
  /** Stores an event that is new. @returns whether it was */
  receive(event: ProviderEvent): Promise<boolean>
  /**
   * Takes events whose time has come, so that no other process works on them for a while.
   * @param leaseMs after which they count as left by a process that died
   */
  claim(limit: number, leaseMs: number): Promise<StoredEvent[]>
  /** Writes down what became of events. */
  finish(
    events: readonly Pick<StoredEvent, 'provider' | 'id'>[],
    status: Exclude<EventStatus, 'received'>,
    reason: string | null,
  ): Promise<void>
  /** Removes what was done with long ago. @returns how many */
  clearOld(): Promise<number>
  /** Puts events back, to be tried again after so long. */
  postpone(events: readonly Pick<StoredEvent, 'provider' | 'id'>[], ms: number, reason: string): Promise<void>
}
