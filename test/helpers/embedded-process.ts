/** A farebox that only keeps an embedded PostgreSQL, to be killed by the tests: prints its url and waits for SIGTERM. */
import { startEmbedded } from '../../src/platform/embedded.ts'

const [dataDir = '', ending] = process.argv.slice(2)
const log = { info: console.error, warn: console.error }
const database = await startEmbedded({ dataDir, fsync: false, settings: { shared_buffers: '16MB' }, log })
console.log(database.url)
if (ending === 'throw') throw new Error('an uncaught error')
const waiting = setInterval(() => {}, 60_000)
process.once('SIGTERM', async () => {
  await database.stop()
  clearInterval(waiting)
})
