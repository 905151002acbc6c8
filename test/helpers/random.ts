export interface Random {
  /** Above 0 and up to 1. */
  next(): number
  chance(share: number): boolean
  /** A whole number from 0 up to `n`, exclusive. */
  below(n: number): number
  pick<T>(list: readonly T[]): T
}

/** Park–Miller: the same storm for the same seed, as far as the outside world goes. */
export function randomFrom(seed: number): Random {
  let state = (seed % 2_147_483_646) + 1
  const next = () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
  const below = (n: number) => Math.min(n - 1, Math.floor(next() * n))
  return { next, below, chance: (share) => next() < share, pick: (list) => list[below(list.length)] as never }
}
