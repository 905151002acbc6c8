/** The postmaster's pid file: who it says is running, and whether that is true. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dataOf } from './cluster.ts'
import { fromFileError } from './error.ts'
import type { Place } from './place.ts'
import { startOf } from './process-lock.ts'

/** The id of the postmaster that runs on our data, or undefined when the one that the pid file names is gone. */
export function runningPostmaster(place: Place): number | undefined {
  const pid = Number(readPidFile(place)?.[0])
  return pid > 0 && isPostmasterOf(pid, place) ? pid : undefined
}

/** The postmaster itself says when it is ready, in line 8 of its pid file: pg_ctl waits for the same. */
export function isReady(place: Place, pid: number | undefined): boolean {
  const lines = readPidFile(place)
  return lines !== undefined && Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
}

/**
 * A killed server leaves its pid file, and a new one refuses to start while *any* process has that id: a zombie that nobody
 * reaps, or in a restarted container quite another program. We know better, since we looked at the process. The file
 * itself must stay, because the server finds in it whether backends of the old one still hold the shared memory;
 * so only the id is replaced, by ours: a server does not mind the id of its own parent there.
 */
export function disownPidFile(place: Place): void {
  const lines = readPidFile(place)
  const pid = Number(lines?.[0])
  if (!lines || !(pid > 0) || isPostmasterOf(pid, place)) return
  try {
    writeFileSync(join(dataOf(place), 'postmaster.pid'), [String(process.pid), ...lines.slice(1)].join('\n'))
  } catch (error) {
    throw fromFileError(error, dataOf(place))
  }
}

function isPostmasterOf(pid: number, place: Place): boolean {
  if (startOf(pid) === undefined) return false
  if (process.platform === 'win32') return true
  return commandOf(pid).includes(dataOf(place))
}

function commandOf(pid: number): string {
  if (process.platform === 'linux') {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    } catch {
      return ''
    }
  }
  return spawnSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout ?? ''
}

function readPidFile(place: Place): string[] | undefined {
  const path = join(dataOf(place), 'postmaster.pid')
  try {
    return readFileSync(path, 'utf8').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fromFileError(error, path)
  }
}
