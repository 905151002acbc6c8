import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Command, CommanderError } from 'commander'
import { examples, Failure, newCommand, type Ports } from './cli/command.ts'

/**
 * The command line. Exit status: 0 done, 1 not done, 2 used wrongly. A command's own file is loaded only when it is named, so that
 * help is quick.
 */

const COMMANDS: readonly (readonly [name: string, summary: string, load: () => Promise<{ command(ports: Ports): Command }>])[] = [
  ['start', 'start the service', () => import('./cli/start.ts')],
  ['migrate', 'bring the database to this version, or show where it stands', () => import('./cli/migrate.ts')],
  ['seed', 'add the first prices and packages, and with --demo a client to try things with', () => import('./cli/seed.ts')],
  ['keys', 'create, list and revoke API keys', () => import('./cli/keys.ts')],
  ['token', 'mint a token for a person', () => import('./cli/token.ts')],
  ['prices', 'import public price lists and decide on what is implausible in them', () => import('./cli/prices.ts')],
  ['verify', 'check every invariant of the book', () => import('./cli/verify.ts')],
  ['reconcile', "compare the payment provider's books with ours", () => import('./cli/reconcile.ts')],
  ['doctor', 'check the installation and say what to do', () => import('./cli/doctor.ts')],
  ['replay', 'replay a recorded trace against a running service', () => import('./cli/replay.ts')],
]

const EXIT_FAILED = 1
const EXIT_USAGE = 2

/** The root files are heavy and most commands need little of them. */
const ports: Ports = {
  env: process.env,
  migrationsDir: fileURLToPath(new URL('../prisma/migrations', import.meta.url)),
  startService: async (env, role) => (await import('./main.ts')).start(env, role),
  seedLists: async (url) => (await import('./prepare.ts')).seedLists(url),
  async openLane(url) {
    const [{ createRooms }, { createLogger }] = await Promise.all([import('./wire.ts'), import('./platform/logger.ts')])
    const rooms = await createRooms(url, createLogger({ level: 'warn' }))
    return {
      openWallet: (clientId, owner, label) => rooms.walletReads.open(clientId, owner, { label }),
      submitAll: (commands) => Promise.all(rooms.lane.submitAll(commands)),
      close: rooms.close,
    }
  },
  async openBilling(url, payments) {
    const [{ createRooms }, { createLogger }] = await Promise.all([import('./wire.ts'), import('./platform/logger.ts')])
    const rooms = await createRooms(url, createLogger({ level: 'silent' }), { payments })
    return { reconcile: rooms.billing.reconcile, close: rooms.close }
  },
}

async function run(args: readonly string[]): Promise<void> {
  // As `npm start` does with --env-file-if-exists: what is set already stays.
  if (existsSync('.env')) process.loadEnvFile('.env')
  const program = newCommand('farebox', 'Metering for products that sell AI by the credit: reserve, commit, release, refund.')
    .usage('<command> [options]')
    .version(versionOf(), '-V, --version', 'show the version')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText(
      'after',
      `${examples('farebox start', 'farebox seed --demo', 'farebox keys create --name backend', 'farebox verify')}
The database is that of DATABASE_URL, or the embedded one in DATA_DIR
(.farebox). Variables may stand in .env.`,
    )
  for (const [name, summary, load] of COMMANDS) {
    if (args.includes(name)) program.addCommand((await load()).command(ports).summary(summary))
    else program.command(name).summary(summary)
  }
  if (args.length === 0) return program.outputHelp()
  await program.parseAsync(args, { from: 'user' })
}

function versionOf(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}

// Whoever reads the output may have seen enough: `farebox prices quarantine | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : EXIT_FAILED))

try {
  await run(process.argv.slice(2))
} catch (error) {
  // At once: a start that failed half-way may still have connections open.
  process.exit(await report(error))
}

/** Tells the person why it did not work. @returns the exit status */
async function report(error: unknown): Promise<number> {
  // Commander has said everything itself.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
  if (error instanceof Failure) {
    for (const line of error.lines) console.error(`farebox: ${line}`)
  } else {
    const { reasonLines } = await import('./main.ts')
    for (const line of reasonLines(error, process.env.PORT)) console.error(line)
  }
  if (process.env.LOG_LEVEL === 'debug') console.error(error)
  return EXIT_FAILED
}
