import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { createLogger } from './platform/logger.ts'
import { wireRooms } from './wire.ts'

/** The OpenAPI document as YAML, from an app that never connects to its database. */
export async function describeApi(): Promise<string> {
  const config = readConfig({ LOG_LEVEL: 'silent', JWT_SECRET: 'only-to-describe-the-api-never-to-sign' })
  const logger = createLogger({ level: 'silent' })
  const rooms = wireRooms('postgresql://nowhere.invalid/none', logger)
  const app = await buildApp(config, rooms, logger)
  const yaml = app.swagger({ yaml: true })
  await app.close()
  await rooms.close()
  return yaml
}
