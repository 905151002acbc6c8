import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedDatabase, startEmbedded } from '../src/platform/embedded.ts'

/** Quick to start and to fill, and lost with the first power cut: for tests and tools only. */
const SETTINGS = { shared_buffers: '128MB', max_connections: '200', autovacuum_naptime: '10min', log_min_messages: 'fatal' }

/** Starts a PostgreSQL in a temporary directory. `stop` also deletes it. */
export async function startThrowaway(): Promise<EmbeddedDatabase> {
  const dataDir = await mkdtemp(join(tmpdir(), 'farebox-'))
  // As root the server runs as another user, who must be able to pass.
  await chmod(dataDir, 0o711)
  // Only warnings: that this server starts and stops is of no interest to whoever runs a test.
  const log = { info() {}, warn: (message: string) => console.error(message) }
  const clear = (root: string) => rm(root, { recursive: true, force: true, maxRetries: 3 })
  try {
    const server = await startEmbedded({ dataDir, fsync: false, settings: SETTINGS, log })
    return {
      ...server,
      async stop() {
        await server.stop()
        await clear(server.root)
        await clear(dataDir)
      },
    }
  } catch (error) {
    await clear(dataDir)
    throw error
  }
}
