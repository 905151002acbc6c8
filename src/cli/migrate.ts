import type { Command } from 'commander'
import type { Config } from '../config.ts'
import { installJobs } from '../jobs/install.ts'
import { migrate, migrationStatus } from '../platform/migrate.ts'
import { examples, Failure, newCommand, note, type Ports, print } from './command.ts'
import { readDatabaseConfig, withDatabase } from './database.ts'
import { grantRights, roleOf } from './grant-pg.ts'

export function command(ports: Ports): Command {
  const dir = ports.migrationsDir
  const status = newCommand('status', 'List the migrations and whether each is applied. Changes nothing.').action(() =>
    withDatabase(asOwner(readDatabaseConfig(ports.env)), {}, async ({ url }) => {
      const found = await migrationStatus(url, { dir })
      const lines = [
        ...found.applied.map(
          (name) => [name, found.changed.includes(name) ? 'applied, and its file was edited since' : 'applied'] as const,
        ),
        ...found.failed.map((name) => [name, 'begun by another tool and never finished'] as const),
        ...found.pending.map((name) => [name, 'pending'] as const),
      ]
      for (const [name, state] of lines) print(`${found.unknown.includes(name) ? 'applied by a newer farebox' : state}  ${name}`)
    }),
  )
  return newCommand('migrate', 'Bring the database to this version of farebox.')
    .addHelpText(
      'after',
      `
With MIGRATION_DATABASE_URL, whose role then owns the tables, the role that
DATABASE_URL names gets exactly the rights that the service needs: it cannot
change the ledger. A password in DATABASE_URL is not needed for that.
${examples('farebox migrate', 'farebox migrate status')}
Safe to run again and from several processes at once. Production runs it before
the processes start; development does so by itself.`,
    )
    .addCommand(status)
    .action(async () => {
      const config = readDatabaseConfig(ports.env)
      const role = serviceRole(config)
      await withDatabase(asOwner(config), { make: true }, async ({ url }) => {
        const { applied } = await migrate(url, { dir, log: { info: () => {}, warn: note } })
        await installJobs(url)
        for (const name of applied) print(`applied  ${name}`)
        if (applied.length === 0) print('Nothing to do: every migration is applied.')
        if (role && (await grantRights(url, role))) print(`The role ${role} may use the tables, and cannot change the ledger.`)
      })
    })
}

/** The same configuration with the database as its owner sees it. */
function asOwner(config: Config): Config {
  return config.MIGRATION_DATABASE_URL ? { ...config, DATABASE_URL: config.MIGRATION_DATABASE_URL } : config
}

/** The role to be given rights; null where one role does both. @throws Failure where it has no name */
function serviceRole({ MIGRATION_DATABASE_URL: owner, DATABASE_URL: url }: Config): string | null {
  if (!owner) return null
  const role = url && roleOf(url)
  if (role) return role
  throw new Failure('DATABASE_URL has to name the role of the service, so that it can be given its rights: postgresql://role@host/database')
}
