import type { WalletRef } from './command.ts'

/** Which wallets a caller may see. */
export interface Access {
  readonly clientId: string
  readonly everyClient: boolean
  /** A person sees the wallets of this owner id (kind `user`) only; null for backends and admins. */
  readonly userId: string | null
}

/** The condition on wallets that says "mine", for Prisma. */
export function mine(access: Access) {
  return {
    ...(access.everyClient ? {} : { clientId: access.clientId }),
    ...(access.userId === null ? {} : { ownerKind: 'user', ownerId: access.userId }),
  }
}

/** The condition that picks one wallet of mine, by id or by owner. An owner is one of the caller's own client. */
export function mineAt(access: Access, ref: WalletRef) {
  const at = 'id' in ref ? { id: ref.id } : { clientId: access.clientId, ownerKind: ref.ownerKind, ownerId: ref.ownerId }
  return { AND: [mine(access), at] }
}
