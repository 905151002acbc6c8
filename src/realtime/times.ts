/** How long this room waits for what, in milliseconds. Tests wait less. */
export interface RealtimeTimes {
  /** A lost message is noticed at the latest after this, while the bus says that it is up. */
  readonly compareMs: number
  /** And while it says that it is not. */
  readonly compareDownMs: number
  /** How often to look whether it is time to compare. */
  readonly tickMs: number
  /** How often Redis is asked whether it lives, and how long it may take to answer. */
  readonly watchdogMs: number
  readonly watchdogAnswerMs: number
  /** How often each connection is looked at; its patience is counted in these. */
  readonly checkMs: number
  /** How often credentials of open connections are looked up: a revoked key loses them within this. */
  readonly credentialMs: number
  /** How long a peer that was told to leave may take. */
  readonly leaveMs: number
}

export const REALTIME_TIMES: RealtimeTimes = {
  compareMs: 30_000,
  compareDownMs: 2_000,
  tickMs: 1_000,
  watchdogMs: 5_000,
  watchdogAnswerMs: 2_000,
  checkMs: 1_000,
  credentialMs: 30_000,
  leaveMs: 2_000,
}
