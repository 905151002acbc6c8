import type { Command } from 'commander'
import { migrate, migrationStatus } from '../platform/migrate.ts'
import { examples, newCommand, note, type Ports, print } from './command.ts'
import { readDatabaseConfig, withDatabase } from './database.ts'

export function command(ports: Ports): Command {
  const dir = ports.migrationsDir
  const status = newCommand('status', 'List the migrations and whether each is applied. Changes nothing.').action(() =>
    withDatabase(readDatabaseConfig(ports.env), {}, async ({ url }) => {
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
      `${examples('farebox migrate', 'farebox migrate status')}
Safe to run again and from several processes at once. Production runs it before
the processes start; development does so by itself.`,
    )
    .addCommand(status)
    .action(() =>
      withDatabase(readDatabaseConfig(ports.env), { make: true }, async ({ url }) => {
        const { applied } = await migrate(url, { dir, log: { info: () => {}, warn: note } })
        for (const name of applied) print(`applied  ${name}`)
        if (applied.length === 0) print('Nothing to do: every migration is applied.')
      }),
    )
}
