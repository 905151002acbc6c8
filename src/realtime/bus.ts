/**
 * How the processes tell each other that a wallet changed. Messages may get lost, doubled and disordered: whoever listens compares
 * versions, and looks into the database now and then. Nothing here is ever awaited by money.
 */
export interface Bus {
  /** Tells the other processes, where there may be any. Never throws and never waits; under pressure it drops. */
  publish(walletId: string, message: () => string): void
  /**
   * Asks for the messages about a wallet, until `unsubscribe`. Resolves when they come, and soon in any case; where that is
   * without them, `onGap` follows as soon as they do.
   */
  subscribe(walletId: string): Promise<void>
  unsubscribe(walletId: string): void
  /** Sets who is told: of messages, and of moments before which some may have been lost. */
  listen(listener: BusListener): void
  /** False while messages are known not to arrive. */
  readonly isUp: boolean
  /** Sends what is under way, if that can be done soon. */
  close(): Promise<void>
}

export interface BusListener {
  onMessage(walletId: string, message: string): void
  onGap(): void
}

/** The bus of a process that is alone: there is nobody to tell. */
export const NO_BUS: Bus = {
  publish() {},
  async subscribe() {},
  unsubscribe() {},
  listen() {},
  isUp: true,
  async close() {},
}
