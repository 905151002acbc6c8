/**
 * Where the data live, and as whom PostgreSQL runs.
 *
 * PostgreSQL refuses to run as root. Started by root, we run it as an ordinary account, and that account must be able to
 * reach the files: below a closed directory, such as root's home, it cannot, so that the data then live in /var/lib/farebox
 * and the data directory keeps only a pointer to them.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { PlatformLog } from '../log.ts'
import { EmbeddedError, fromFileError } from './error.ts'

/** The account that PostgreSQL runs as; absent when it is our own. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface Place {
  /** Absolute, with links resolved: the files of PostgreSQL are below it. */
  readonly root: string
  readonly account: Account | undefined
}

const POINTER = 'location'
const SHARED_ROOT = '/var/lib/farebox'

/** Settles on the place of `dataDir`, making the directories that are missing. */
export function settle(dataDir: string, log: PlatformLog): Place {
  const wanted = resolve(dataDir)
  try {
    return process.getuid?.() === 0 ? settleAsRoot(wanted, log) : settleAsOurselves(wanted)
  } catch (error) {
    throw fromFileError(error, wanted)
  }
}

function settleAsOurselves(wanted: string): Place {
  mkdirSync(wanted, { recursive: true, mode: 0o700 })
  accessSync(wanted, constants.R_OK | constants.W_OK | constants.X_OK)
  const root = pointedTo(wanted) ?? realpathSync(wanted)
  accessSync(root, constants.R_OK | constants.W_OK | constants.X_OK)
  const data = join(root, 'pg')
  const owner = existsSync(data) ? statSync(data).uid : process.getuid?.()
  if (owner !== process.getuid?.()) {
    throw new EmbeddedError(
      'data_dir_unreadable',
      `The database in ${root} belongs to user ${owner}: start farebox as that user or as root.`,
    )
  }
  return { root, account: undefined }
}

function settleAsRoot(wanted: string, log: PlatformLog): Place {
  if (!existsSync(wanted)) {
    mkdirSync(wanted, { recursive: true })
    // The account passes through but cannot list; what is secret inside is closed on its own. Said again for a strict umask.
    chmodSync(wanted, 0o711)
  }
  const root = pointedTo(wanted) ?? realpathSync(wanted)
  const data = join(root, 'pg')
  const account = (existsSync(data) ? ownerOf(data) : undefined) ?? ordinaryAccount()
  if (canPass(root, account)) return { root, account }
  if (existsSync(data)) {
    throw new EmbeddedError(
      'data_dir_unreadable',
      `User ${account.uid}, who owns the database in ${root}, cannot reach it: open the directories above it.`,
    )
  }
  const elsewhere = join(SHARED_ROOT, `${basename(dirname(wanted))}-${randomBytes(4).toString('hex')}`)
  mkdirSync(SHARED_ROOT, { recursive: true })
  chmodSync(SHARED_ROOT, 0o755)
  mkdirSync(elsewhere)
  chmodSync(elsewhere, 0o711)
  if (!canPass(elsewhere, account)) {
    throw new EmbeddedError('data_dir_unreadable', `User ${account.uid} can reach neither ${wanted} nor ${elsewhere}: set DATABASE_URL.`)
  }
  writeFileSync(join(elsewhere, 'origin'), `${wanted}\n`)
  try {
    writeFileSync(join(wanted, POINTER), `${elsewhere}\n`, { flag: 'wx' })
  } catch (error) {
    // Two first starts at once: the other one settled it.
    rmSync(elsewhere, { recursive: true, force: true })
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return settleAsRoot(wanted, log)
  }
  log.info(`PostgreSQL does not run as root and user ${account.uid} cannot reach ${wanted}: the data are in ${elsewhere}`)
  return { root: elsewhere, account }
}

function pointedTo(wanted: string): string | undefined {
  const pointer = join(wanted, POINTER)
  if (!existsSync(pointer)) return undefined
  const root = readFileSync(pointer, 'utf8').trim()
  if (existsSync(root)) return root
  throw new EmbeddedError(
    'data_dir_unreadable',
    `${pointer} names ${root}, which is not there. Restore it, or delete ${pointer} to start with an empty database.`,
  )
}

/** A database that an ordinary user began goes on as that user's. */
function ownerOf(path: string): Account | undefined {
  const { uid, gid } = statSync(path)
  return uid === 0 ? undefined : { uid, gid }
}

function ordinaryAccount(): Account {
  const accounts = existsSync('/etc/passwd')
    ? readFileSync('/etc/passwd', 'utf8')
        .split('\n')
        .map((line) => line.split(':'))
    : []
  for (const name of ['postgres', '_postgres', 'nobody']) {
    const entry = accounts.find((fields) => fields[0] === name)
    if (entry) return { uid: Number(entry[2]), gid: Number(entry[3]) }
  }
  return { uid: 65534, gid: 65534 }
}

/** Asks the kernel, as the account itself: modes alone would miss access lists and mounts. */
function canPass(path: string, account: Account): boolean {
  const asked = spawnSync('/bin/sh', ['-c', 'test -x "$1"', 'sh', path], { ...account, cwd: '/', stdio: 'ignore' })
  if (asked.error) {
    throw new EmbeddedError(
      'start_failed',
      `PostgreSQL does not run as root, and this process may not start one as user ${account.uid} (${asked.error.message}): start farebox as an ordinary user, or set DATABASE_URL.`,
      { cause: asked.error },
    )
  }
  return asked.status === 0
}
