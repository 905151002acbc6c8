/** What the lane wrote for somebody to act on. */
export interface WaitingEvent {
  readonly id: bigint
  readonly walletId: string
  readonly attempts: number
}

export interface Outbox {
  /**
   * Takes events whose time has come, so that no other process works on them for a while.
   * @param leaseMs after which they count as left by a process that died
   */
  claim(topic: string, limit: number, leaseMs: number): Promise<WaitingEvent[]>
  publish(ids: readonly bigint[]): Promise<void>
  /** Removes what was acted on long ago. @returns how many */
  clearOld(): Promise<number>
  postpone(ids: readonly bigint[], ms: number): Promise<void>
}
