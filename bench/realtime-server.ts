/**
 * The service as `src/main.ts` starts it, but that it lets peers take their time to leave: a reader that was cut off because it does not
 * read can then still be shown to have been told why.
 */
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { createLogger } from '../src/platform/logger.ts'
import { createRooms } from '../src/wire.ts'

const LEAVE_MS = 60_000

const config = readConfig(process.env)
const logger = createLogger({ level: config.LOG_LEVEL })
const rooms = await createRooms(config.DATABASE_URL ?? '', logger, { redisUrl: config.REDIS_URL, realtimeTimes: { leaveMs: LEAVE_MS } })
const app = await buildApp(config, rooms, logger)
await app.listen({ host: config.HOST, port: config.PORT })
process.once('SIGTERM', () => process.exit(0))
