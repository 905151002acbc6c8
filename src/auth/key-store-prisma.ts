import type { Prisma, PrismaClient } from '../generated/prisma/client.ts'
import type { ApiKeyModel } from '../generated/prisma/models/ApiKey.ts'
import type { ClientModel } from '../generated/prisma/models/Client.ts'
import { newId } from '../kernel/ids.ts'
import { isForeignKeyViolation, isUniqueViolation } from '../platform/prisma.ts'
import type { ApiKey, Change, Client, KeyStore, Range } from './key-store.ts'
import { isScope } from './principal.ts'

/** The key store on PostgreSQL. Every change and its audit row are one transaction. */
export function createKeyStore(prisma: PrismaClient): KeyStore {
  return {
    async findActiveKey(sha256, now) {
      const row = await prisma.apiKey.findUnique({ where: { sha256: Uint8Array.from(sha256) } })
      if (!row || row.revokedAt !== null) return null
      return row.expiresAt !== null && row.expiresAt.getTime() <= now ? null : fromKeyRow(row)
    },

    async findKey(id) {
      const row = await prisma.apiKey.findUnique({ where: { id } })
      return row && fromKeyRow(row)
    },

    async findClient(by) {
      const row = await prisma.client.findUnique({ where: 'id' in by ? { id: by.id } : { name: by.name } })
      return row && fromClientRow(row)
    },

    async addClient(client, change) {
      const after = { name: client.name }
      return didNot(isUniqueViolation, () =>
        prisma.$transaction([
          prisma.client.create({ data: { id: client.id, name: client.name, createdAt: new Date(client.createdAt) } }),
          prisma.auditEntry.create({ data: auditRow(change, 'client.create', 'client', client.id, after) }),
        ]),
      )
    },

    async findOrCreateClient(client) {
      const createdAt = new Date(client.createdAt)
      await prisma.$executeRaw`
        insert into clients (id, name, created_at) values (${client.id}::uuid, ${client.name}, ${createdAt}) on conflict (name) do nothing`
      // A new statement: the snapshot of the insert does not show a row that it lost to.
      return fromClientRow(await prisma.client.findUniqueOrThrow({ where: { name: client.name } }))
    },

    async addKey(key, sha256, change) {
      const { id, clientId, name, prefix, createdBy } = key
      const scopes = [...key.scopes]
      const after = { client_id: clientId, name, prefix, scopes, expires_at: toDate(key.expiresAt)?.toISOString() ?? null }
      const row = {
        id,
        clientId,
        name,
        prefix,
        createdBy,
        scopes,
        sha256,
        expiresAt: toDate(key.expiresAt),
        createdAt: new Date(key.createdAt),
      }
      return didNot(isForeignKeyViolation, () =>
        prisma.$transaction([
          prisma.apiKey.create({ data: row }),
          prisma.auditEntry.create({ data: auditRow(change, 'api_key.create', 'api_key', id, after) }),
        ]),
      )
    },

    async revokeKey(id, change) {
      const { speaker, reason } = change
      const at = new Date(change.at)
      // One statement, so that of two who revoke at once only one writes an audit row.
      await prisma.$executeRaw`
        with revoked as (update api_keys set revoked_at = ${at} where id = ${id}::uuid and revoked_at is null returning id, client_id, prefix)
        insert into audit_log (id, client_id, actor, action, target_kind, target_id, reason, before, after, request_id, created_at)
        select ${newId()}::uuid, ${speaker.clientId}::uuid, ${speaker.actor}, 'api_key.revoke', 'api_key', id, ${reason},
          json_build_object('revoked_at', null), json_build_object('revoked_at', ${at.toISOString()}::text), ${speaker.requestId}, ${at}
        from revoked`
      return this.findKey(id)
    },

    async listClients(range) {
      return (await prisma.client.findMany({ ...newestFirst(range) })).map(fromClientRow)
    },

    async listKeys(clientId, range) {
      const { where, ...page } = newestFirst(range)
      return (await prisma.apiKey.findMany({ where: { clientId, ...where }, ...page })).map(fromKeyRow)
    },
  }
}

/** Ids are time-ordered, so the newest rows have the highest. */
function newestFirst(range: Range) {
  const where = range.afterId === null ? {} : { id: { lt: range.afterId } }
  return { where, orderBy: { id: 'desc' as const }, take: range.limit }
}

/** False where the database refused with an error that the caller expects. */
async function didNot(expected: (error: unknown) => boolean, work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (expected(error)) return false
    throw error
  }
}

function auditRow(change: Change, action: string, targetKind: string, targetId: string, after: Prisma.InputJsonObject) {
  const { clientId, actor, requestId } = change.speaker
  return {
    id: newId(),
    clientId,
    actor,
    action,
    targetKind,
    targetId,
    reason: change.reason,
    after,
    requestId,
    createdAt: new Date(change.at),
  }
}

function fromClientRow(row: ClientModel): Client {
  return { id: row.id, name: row.name, createdAt: row.createdAt.getTime() }
}

function fromKeyRow(row: ApiKeyModel): ApiKey {
  const { id, clientId, name, prefix, createdBy } = row
  return {
    id,
    clientId,
    name,
    prefix,
    createdBy,
    // A scope that this version does not know gives nothing.
    scopes: row.scopes.filter(isScope),
    expiresAt: row.expiresAt?.getTime() ?? null,
    revokedAt: row.revokedAt?.getTime() ?? null,
    createdAt: row.createdAt.getTime(),
  }
}

function toDate(instant: number | null): Date | null {
  return instant === null ? null : new Date(instant)
}
