import { defineConfig } from 'prisma/config'

// Any existing file will do: `generate` never runs the engine, and with this set Prisma never downloads one.
process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath

export default defineConfig({ schema: 'prisma/schema.prisma', migrations: { path: 'prisma/migrations' } })
