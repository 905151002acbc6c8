import { type Command, Option } from 'commander'
import { ROLES, type Role } from '../jobs/role.ts'
import { examples, newCommand, type Ports } from './command.ts'

export function command(ports: Ports): Command {
  return newCommand('start', 'Start the service: HTTP and background jobs, in this process.')
    .addOption(new Option('--role <role>', 'api serves HTTP, worker runs the background jobs').choices(ROLES).default('all'))
    .addHelpText(
      'after',
      `
It reads its configuration from the environment and from .env: PORT, HOST,
DATABASE_URL, DATA_DIR, JWT_SECRET, … Without a DATABASE_URL it starts its own
PostgreSQL in DATA_DIR (.farebox). SIGTERM and Ctrl-C stop it in order.
A worker answers /healthz and /readyz only. Processes of different roles share
one DATABASE_URL.
${examples('farebox start', 'PORT=9000 farebox start --role api', 'NODE_ENV=production DATABASE_URL=postgresql://… JWT_SECRET=… farebox start')}`,
    )
    .action(({ role }: { role: Role }) => ports.startService(ports.env, role))
}
