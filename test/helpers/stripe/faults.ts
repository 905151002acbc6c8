export type Fault =
  /** Another request holds the object: nothing done, and worth another try. */
  | 'error409'
  /** Too many requests: nothing done. */
  | 'error429'
  /** Nothing done. */
  | 'error500'
  /** The work is done, and the answer, also to whoever asks again with the same key, is that it failed. */
  | 'error500-after'
  /** No answer ever, nothing done. */
  | 'timeout'
  /** The connection is reset, nothing done. */
  | 'drop'
  /** The work is done, and the connection reset in place of the answer. */
  | 'drop-after'
  /** The answer comes late, and so does the work. */
  | 'delay'

export interface FaultRule {
  readonly match?: { readonly method?: 'GET' | 'POST' | 'DELETE'; readonly path?: RegExp }
  readonly how: Fault
  /** How often at most; without end by default. */
  readonly times?: number
  /** Of each request that matches; 1 by default. */
  readonly probability?: number
  /** For the probability: the same seed strikes the same requests. */
  readonly seed?: number
  readonly delayMs?: number
  /** What `Stripe-Should-Retry` says. By default yes of a lock, no of a failure that is kept, and otherwise nothing. */
  readonly shouldRetry?: boolean
}

export interface ArmedFault {
  /** How often it struck. */
  readonly hits: number
  stop(): void
}

export interface Faults {
  arm(rule: FaultRule): ArmedFault
  /** The first rule that strikes this request. */
  strike(method: string, path: string): FaultRule | null
}

export function createFaults(): Faults {
  const armed = new Set<{ rule: FaultRule; hits: number; random: () => number }>()
  return {
    arm(rule) {
      const fault = { rule, hits: 0, random: randomFrom(rule.seed ?? 1) }
      armed.add(fault)
      return {
        get hits() {
          return fault.hits
        },
        stop: () => void armed.delete(fault),
      }
    },
    strike(method, path) {
      for (const fault of armed) {
        const { match = {}, times = Infinity, probability = 1 } = fault.rule
        if (match.method !== undefined && match.method !== method) continue
        if (match.path && path.search(match.path) < 0) continue
        if (fault.hits >= times || fault.random() >= probability) continue
        fault.hits += 1
        return fault.rule
      }
      return null
    },
  }
}

/** Mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
