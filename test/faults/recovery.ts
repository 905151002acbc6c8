/** What one fault did to those who were served. */
export interface Outage {
  /** From the blow to the first success of something sent after it, after which nothing that was sent later failed. */
  readonly recoveredMs: number
  /** The longest time without any success, up to the next fault. */
  readonly silentMs: number
  /** How long some were served again while others, asking again, were not: what a key that is stuck would show. */
  readonly unusableMs: number
}

/** How long faults kept everybody waiting. What was sent during an outage and fails after it belongs to it still. */
export class Recovery {
  readonly #outages: Outage[] = []
  #struckAt: number | null = null
  #recoveredAt: number | null = null
  #servedAt = 0
  #silentMs = 0
  #silentUntil = 0
  #waiting: (() => void)[] = []

  /** A fault happens now. Ends the count of the one before. */
  strike(now = performance.now()): void {
    this.finish()
    this.#struckAt = now
    this.#servedAt = now
  }

  ok(sentAt: number, now = performance.now()): void {
    if (this.#struckAt === null) return
    const silentMs = now - this.#servedAt
    if (silentMs > this.#silentMs) [this.#silentMs, this.#silentUntil] = [silentMs, now]
    this.#servedAt = now
    if (this.#recoveredAt !== null || sentAt < this.#struckAt) return
    this.#recoveredAt = now
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  failed(sentAt: number): void {
    if (this.#recoveredAt !== null && sentAt > this.#recoveredAt) this.#recoveredAt = null
  }

  /** Resolves with the first success after the fault. */
  async recovered(): Promise<void> {
    if (this.#struckAt === null || this.#recoveredAt !== null) return
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Ends the count. @returns every fault so far, in order */
  finish(): readonly Outage[] {
    if (this.#struckAt !== null) {
      const recoveredAt = this.#recoveredAt ?? Number.POSITIVE_INFINITY
      const unusableMs = Math.max(0, recoveredAt - Math.max(this.#silentUntil, this.#struckAt))
      this.#outages.push({ recoveredMs: recoveredAt - this.#struckAt, silentMs: this.#silentMs, unusableMs })
    }
    this.#struckAt = null
    this.#recoveredAt = null
    this.#silentMs = 0
    return this.#outages
  }
}

/** `kill to first 2xx p50 12 ms, …; longest silence p50 …; keys unusable after that at most 0 ms` */
export function outageText(outages: readonly Outage[]): string {
  const at = (spans: readonly number[], share: number) =>
    Math.round(spans.toSorted((a, b) => a - b)[Math.ceil(share * spans.length) - 1] ?? Number.NaN)
  const text = (spans: readonly number[]) => `p50 ${at(spans, 0.5)} ms, p99 ${at(spans, 0.99)} ms, max ${at(spans, 1)} ms`
  const [recovered, silent] = [outages.map(({ recoveredMs }) => recoveredMs), outages.map(({ silentMs }) => silentMs)]
  const unusable = outages.map(({ unusableMs }) => unusableMs)
  return `kill to first 2xx ${text(recovered)}; longest silence ${text(silent)}; keys unusable after it at most ${at(unusable, 1)} ms`
}
