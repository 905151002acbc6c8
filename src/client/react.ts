import { useCallback, useSyncExternalStore } from 'react'
import type { Balance, Farebox, Status } from './index.ts'

/**
 * The newest state of a wallet, of the caller's own where none is named, and of nothing for null (a name still to be loaded).
 * Undefined until there is one.
 *
 * @param initial what the server rendered with; shown until something newer is known. The same object on each call.
 */
export function useBalance(client: Farebox, wallet?: string | null, initial?: Balance): Balance | undefined {
  const subscribe = useCallback((changed: () => void) => (wallet === null ? () => {} : client.subscribe(wallet, changed)), [client, wallet])
  const read = () => (wallet === null ? undefined : client.get(wallet)) ?? initial
  // Hydration must see what the server saw, even where the client has learnt more by then.
  return useSyncExternalStore(subscribe, read, () => initial)
}

/** How fresh the figures are. */
export function useStatus(client: Farebox): Status {
  const subscribe = useCallback((changed: () => void) => client.on('status', changed), [client])
  const read = () => client.status
  return useSyncExternalStore(subscribe, read, read)
}
