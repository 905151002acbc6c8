/**
 * One farebox per data directory. The lock is a file that names the process which holds it; a lock whose process is gone is
 * taken over, together with the PostgreSQL server that the dead process left behind.
 *
 * A process id alone proves nothing: ids are used again, in a container within seconds. So a process is known by its id
 * and the moment it started.
 */
import { spawnSync } from 'node:child_process'
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EmbeddedError, fromFileError } from './error.ts'

interface Holder {
  readonly pid: number
  readonly startedAt: string | undefined
  /** The postmaster that the holder started last. */
  readonly postmaster?: number | undefined
}

export interface ProcessLock {
  /** The postmaster of a holder that died without stopping it; 0 when it died before it could note one. */
  readonly orphan: number | undefined
  note(postmaster: number): void
  release(): void
}

/** Takes the lock of `root`, or throws `data_dir_in_use` when a live process holds it. */
export function takeLock(root: string): ProcessLock {
  const path = join(root, 'farebox.lock')
  const own: Holder = { pid: process.pid, startedAt: startOf(process.pid) }
  let orphan: number | undefined
  let held = true
  // The second try follows the removal of a dead holder's file, the third a race for it.
  for (let attempt = 0; attempt < 3; attempt++) {
    if (create(path, own)) {
      return {
        orphan,
        note: (postmaster) => writeAtomically(path, { ...own, postmaster }),
        release: () => {
          // Only once: after that the file may be another process's.
          if (held) rmSync(path, { force: true })
          held = false
        },
      }
    }
    const holder = read(path)
    if (holder && isAlive(holder)) {
      throw new EmbeddedError(
        'data_dir_in_use',
        `The data directory ${root} is in use by another farebox (process ${holder.pid}). Stop that one, or give this one its own directory or a DATABASE_URL.`,
      )
    }
    orphan = holder?.postmaster ?? 0
    setAside(path, holder)
  }
  throw new EmbeddedError('data_dir_in_use', `The data directory ${root} is being taken by another farebox. Start again in a moment.`)
}

/** When a process started, in a form that is only ever compared; undefined when there is none (a zombie counts as none). */
export function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
      // The command's name, in parentheses, may hold anything. State is the first field behind it, start time the twentieth.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      if (fields[0] === 'Z' || fields[0] === 'X') return undefined
      return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${fields[19]}`
    } catch {
      return undefined
    }
  }
  if (process.platform === 'win32') return signalReaches(pid) ? 'alive' : undefined
  const asked = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' })
  return asked.stdout?.trim() || undefined
}

function isAlive(holder: Holder): boolean {
  const startedAt = startOf(holder.pid)
  return startedAt !== undefined && startedAt === holder.startedAt
}

function signalReaches(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** A link appears whole and only once, where a plain write could be read half done. */
function create(path: string, holder: Holder): boolean {
  const draft = `${path}.${process.pid}`
  try {
    writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 })
    linkSync(draft, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw fromFileError(error, path)
  } finally {
    rmSync(draft, { force: true })
  }
}

function writeAtomically(path: string, holder: Holder): void {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 })
  renameSync(draft, path)
}

/** Undefined when the file is gone or is no lock: then nobody holds it. */
function read(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== undefined && code !== 'ENOENT') throw fromFileError(error, path)
    return undefined
  }
}

/**
 * Removes the dead holder's file. Another process may do the same at the same time and already have put its own in place:
 * what was moved away is read again, and goes back when it is not what was judged dead.
 */
function setAside(path: string, judged: Holder | undefined): void {
  const aside = `${path}.${process.pid}.dead`
  try {
    renameSync(path, aside)
    const moved = read(aside)
    if (moved?.pid !== judged?.pid || moved?.startedAt !== judged?.startedAt) linkSync(aside, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'EEXIST') throw fromFileError(error, path)
  } finally {
    rmSync(aside, { force: true })
  }
}
