import { statfsSync } from 'node:fs'
import type { Command } from 'commander'
import { type Config, ConfigError, readConfig } from '../config.ts'
import { type MigrationStatus, migrationStatus } from '../platform/migrate.ts'
import { examples, Failure, newCommand, type Ports, print } from './command.ts'
import { hasEmbedded, type OpenDatabase, openDatabase, placeOf, readDatabaseConfig, shown } from './database.ts'
import { type Contents, examine, type Vitals } from './doctor-pg.ts'

/** One line of the diagnosis. */
interface Check {
  readonly state: 'ok' | 'warn' | 'fail'
  readonly about: string
  readonly says: string
  readonly advice?: string
}

const POSTGRES_MIN = 15
/** Commits take the database's time; tokens and logs ours. A minute is what tokens tolerate. */
const CLOCK_WARN_MS = 1_000
const CLOCK_FAIL_MS = 60_000
const DISK_WARN_BYTES = 2 * 1024 ** 3
const DISK_FAIL_BYTES = 256 * 1024 ** 2
/** Two lanes and their siding, eight readers, three for jobs, one that listens: one process, and as much again for its successor. */
const CONNECTIONS_MIN = 30
const ROLE_ADVICE = 'name a role in DATABASE_URL that is none, and an owner in MIGRATION_DATABASE_URL for "farebox migrate"'
const OWNER_ADVICE = 'Let another role own them: name it in MIGRATION_DATABASE_URL and run "farebox migrate"'

export function command(ports: Ports): Command {
  return newCommand('doctor', 'Check the installation: one line a check, and what to do. Exits with 1 when one fails. Changes nothing.')
    .addHelpText('after', examples('farebox doctor', 'NODE_ENV=production farebox doctor'))
    .action(async () => {
      const checks: Check[] = []
      const tell = (check: Check) => {
        checks.push(check)
        print(`${check.state.padEnd(4)}  ${check.about.padEnd(13)} ${check.says}${check.advice ? `. ${check.advice}` : ''}`)
      }
      await diagnose(ports, tell)
      const count = (state: Check['state']) => checks.filter((check) => check.state === state).length
      print(`${count('ok')} ok, ${count('warn')} warnings, ${count('fail')} failures.`)
      if (count('fail') > 0) process.exitCode = 1
    })
}

const ok = (about: string, says: string): Check => ({ state: 'ok', about, says })
const warn = (about: string, says: string, advice: string): Check => ({ state: 'warn', about, says, advice })
const fail = (about: string, says: string, advice: string): Check => ({ state: 'fail', about, says, advice })

async function diagnose(ports: Ports, tell: (check: Check) => void): Promise<void> {
  tell(nodeCheck())
  for (const check of configChecks(ports.env)) tell(check)
  let config: Config
  try {
    // A database can be looked at without the secrets that production asks for.
    config = readDatabaseConfig(ports.env)
  } catch {
    return
  }
  if (!config.DATABASE_URL) {
    if (!hasEmbedded(config)) return tell(warn('database', `none yet in ${shown(config.DATA_DIR)}`, 'The first start makes it'))
    tell(diskCheck(config))
  }
  let database: OpenDatabase
  try {
    database = await openDatabase(config)
  } catch (error) {
    return tell(fail('database', reasonOf(error), 'Check DATABASE_URL, or the directory of DATA_DIR'))
  }
  try {
    await examineDatabase(ports, config, database, tell)
  } catch (error) {
    tell(fail('database', `cannot be reached: ${reasonOf(error)}`, 'Check DATABASE_URL and that PostgreSQL is running'))
  } finally {
    await database.close()
  }
}

async function examineDatabase(
  ports: Ports,
  config: Config,
  { url, where, embedded }: OpenDatabase,
  tell: (check: Check) => void,
): Promise<void> {
  const examination = await examine(url)
  try {
    const vitals = await examination.vitals()
    tell(versionCheck(vitals, where))
    for (const check of durabilityChecks(vitals)) tell(check)
    tell(connectionsCheck(vitals))
    tell(clockCheck(vitals))
    tell(roleCheck(vitals, embedded, config))
    const status = await migrationStatus(url, { dir: ports.migrationsDir })
    tell(migrationCheck(status, config))
    // Without our tables there is nothing to look into.
    if (status.pending.length > 0) return
    const contents = await examination.contents()
    // A superuser may do everything, and the embedded server is this farebox's alone.
    if (!vitals.isSuperuser) tell(ledgerCheck(contents))
    for (const check of contentChecks(contents, config)) tell(check)
  } finally {
    await examination.end()
  }
}

function nodeCheck(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const fits = major > 22 || (major === 22 && minor >= 18)
  return fits ? ok('node', process.version) : fail('node', process.version, 'Farebox needs Node 22.18 or newer')
}

function configChecks(env: NodeJS.ProcessEnv): Check[] {
  try {
    const config = readConfig(env)
    const secrets = config.JWKS_URL ? 'tokens by JWKS_URL' : config.JWT_SECRET ? 'tokens by JWT_SECRET' : 'tokens by a generated secret'
    const checks = [ok('config', `${config.NODE_ENV}, ${secrets}`)]
    if (config.NODE_ENV === 'production' && config.DOCS) {
      checks.push(warn('config', 'DOCS is on in production', 'Unset it, unless everyone may read the documentation'))
    }
    return checks
  } catch (error) {
    if (error instanceof ConfigError) return error.lines.map((line) => fail('config', line, 'Set it in the environment or in .env'))
    throw error
  }
}

function versionCheck({ version, versionNumber }: Vitals, where: string): Check {
  const says = `PostgreSQL ${version}, ${where}`
  if (versionNumber >= POSTGRES_MIN * 10_000) return ok('database', says)
  return fail('database', says, `Farebox needs PostgreSQL ${POSTGRES_MIN} or later`)
}

function durabilityChecks({ settings }: Vitals): Check[] {
  const off = (name: string) => settings[name] === 'off'
  return [
    off('fsync') ? fail('fsync', 'off', 'A power cut may lose the whole database: set fsync = on') : ok('fsync', 'on'),
    off('synchronous_commit')
      ? fail('commit', 'synchronous_commit is off', 'A crash may lose what was acknowledged: set synchronous_commit = on for this role')
      : ok('commit', `synchronous_commit is ${settings.synchronous_commit}`),
    off('full_page_writes')
      ? fail('pages', 'full_page_writes is off', 'A power cut may tear a page: set full_page_writes = on')
      : ok('pages', 'full_page_writes is on'),
  ]
}

function connectionsCheck({ settings }: Vitals): Check {
  const most = Number(settings.max_connections)
  const says = `max_connections is ${most}`
  return most >= CONNECTIONS_MIN ? ok('connections', says) : warn('connections', says, `One process takes up to ${CONNECTIONS_MIN / 2}`)
}

function clockCheck({ clockAheadMs, clockErrorMs }: Vitals): Check {
  const says = `the database is ${Math.abs(clockAheadMs)} ms ${clockAheadMs < 0 ? 'behind' : 'ahead'} (give or take ${clockErrorMs} ms)`
  const off = Math.abs(clockAheadMs) - clockErrorMs
  if (off < CLOCK_WARN_MS) return ok('clock', says)
  const advice = 'Let both machines follow the same time server'
  return off < CLOCK_FAIL_MS ? warn('clock', says, advice) : fail('clock', says, advice)
}

function roleCheck({ role, isSuperuser }: Vitals, embedded: boolean, config: Config): Check {
  if (!isSuperuser) return ok('role', role)
  if (embedded) return ok('role', `${role}, superuser of an embedded server that serves nothing else`)
  const says = `${role} is a superuser`
  if (config.NODE_ENV === 'production') return fail('role', says, `The service refuses to start: ${ROLE_ADVICE}`)
  return warn('role', says, `Production refuses it: ${ROLE_ADVICE}`)
}

function ledgerCheck({ needlessRights, ownTables }: Contents): Check {
  if (ownTables > 0) return warn('ledger', `the role owns ${ownTables} tables, and could take away what protects them`, OWNER_ADVICE)
  if (needlessRights.length === 0) return ok('ledger', 'the role cannot change what was written once')
  return warn('ledger', `the role may ${needlessRights.join(', ')}`, OWNER_ADVICE)
}

function migrationCheck({ applied, pending, failed, changed, unknown }: MigrationStatus, config: Config): Check {
  if (changed.length > 0) return fail('migrations', `edited after they were applied: ${changed.join(', ')}`, 'Restore the files')
  if (failed.length > 0) return fail('migrations', `begun and never finished: ${failed.join(', ')}`, 'Repair the database')
  if (unknown.length > 0) return warn('migrations', `of a newer farebox: ${unknown.join(', ')}`, 'Update this one')
  if (pending.length === 0) return ok('migrations', `${applied.length} applied`)
  const says = `${pending.length} pending`
  if (config.NODE_ENV === 'production') return fail('migrations', says, 'Run "farebox migrate"')
  return warn('migrations', says, 'Run "farebox migrate", or let the next start do it')
}

function contentChecks(found: Contents, config: Config): Check[] {
  const prices = `${found.models} models, ${found.rates} rates, ${found.policies} policies`
  const noPrices = found.models === 0 || found.rates === 0
  return [
    found.missingRights.length === 0
      ? ok('rights', 'on all tables')
      : fail(
          'rights',
          `missing: ${found.missingRights.join(', ')}`,
          'Run "farebox migrate" with MIGRATION_DATABASE_URL, which grants them',
        ),
    found.hasJobs ? ok('jobs', 'the queue is there') : warn('jobs', 'there is no job queue yet', 'Run "farebox migrate"'),
    noPrices ? warn('prices', prices, 'Nothing can be priced: run "farebox seed", or add prices as an admin') : ok('prices', prices),
    found.activeKeys > 0 ? ok('keys', `${found.activeKeys} active`) : warn('keys', 'none', noKeyAdvice(config)),
    found.staleHolds === 0
      ? ok('holds', 'none is open past its deadline')
      : warn('holds', `${found.staleHolds} are open past their deadline`, 'Is a process running that is not --role api?'),
  ]
}

function noKeyAdvice(config: Config): string {
  return config.NODE_ENV === 'production' ? 'Run "farebox keys create --name operator --scope admin"' : 'The next start makes one'
}

function diskCheck(config: Config): Check {
  const { root } = placeOf(config)
  const { bavail, bsize } = statfsSync(root)
  const free = bavail * bsize
  const says = `${(free / 1024 ** 3).toFixed(1)} GB free for ${shown(root)}`
  if (free >= DISK_WARN_BYTES) return ok('disk', says)
  const advice = 'PostgreSQL stops when the disk is full: make room'
  return free >= DISK_FAIL_BYTES ? warn('disk', says, advice) : fail('disk', says, advice)
}

function reasonOf(error: unknown): string {
  if (error instanceof Failure) return error.lines.join(' ')
  const { message, code } = error as NodeJS.ErrnoException
  return (message || code || String(error)).split('\n')[0] as string
}
