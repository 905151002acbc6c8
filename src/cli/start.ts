import type { Command } from 'commander'
import { examples, newCommand, type Ports } from './command.ts'

export function command(ports: Ports): Command {
  return newCommand('start', 'Start the service: HTTP and background jobs, in this process.')
    .addHelpText(
      'after',
      `
It reads its configuration from the environment and from .env: PORT, HOST,
DATABASE_URL, DATA_DIR, JWT_SECRET, … Without a DATABASE_URL it starts its own
PostgreSQL in DATA_DIR (.farebox). SIGTERM and Ctrl-C stop it in order.
${examples('farebox start', 'PORT=9000 farebox start', 'NODE_ENV=production DATABASE_URL=postgresql://… JWT_SECRET=… farebox start')}`,
    )
    .action(() => ports.startService(ports.env))
}
