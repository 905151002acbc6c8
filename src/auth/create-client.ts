import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Change, Client, KeyStore } from './key-store.ts'

/** The client that tokens belong to when they name none. It exists from the first start on. */
export const DEFAULT_CLIENT_NAME = 'default'

/** Adds a product backend. @throws FareboxError `client_exists` */
export async function createClient(store: Pick<KeyStore, 'addClient'>, name: string, change: Change): Promise<Client> {
  const client: Client = { id: newId(), name, createdAt: change.at }
  if (!(await store.addClient(client, change))) throw fail('client_exists', `There is a client named ${name} already.`)
  return client
}
