import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'

/** Why the embedded PostgreSQL cannot run, one code per thing that an operator would do about it. */
export type EmbeddedErrorCode =
  | 'binaries_missing'
  | 'binaries_unusable'
  | 'data_dir_unreadable'
  | 'data_dir_in_use'
  | 'data_dir_version'
  | 'disk_full'
  | 'start_failed'

/** The message is one line for the operator: what is wrong, and what to do. Branch on `code`, never on the message. */
export class EmbeddedError extends Error {
  override readonly name = 'EmbeddedError'
  readonly code: EmbeddedErrorCode

  constructor(code: EmbeddedErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Turns a failed file operation into the sentence that says which path is the trouble. */
export function fromFileError(error: unknown, path: string): Error {
  const cause = error as NodeJS.ErrnoException
  if (cause instanceof EmbeddedError || cause.code === undefined) return cause
  // Node's recursive copy reports a full disk as EIO.
  if (cause.code === 'ENOSPC' || cause.code === 'EDQUOT' || (cause.code === 'EIO' && isFull(path))) {
    return new EmbeddedError('disk_full', `No space left on the disk of ${path}. Free some space and start again.`, { cause })
  }
  return new EmbeddedError(
    'data_dir_unreadable',
    `The data directory cannot be used: ${cause.code} at ${cause.path ?? path}. Check its owner and permissions, or set DATABASE_URL.`,
    { cause },
  )
}

/** The reason out of what a program of PostgreSQL printed: its last complaint, in one line. */
export function fromOutput(output: string, otherwise: string, path: string): EmbeddedError {
  if (/No space left on device|Disk quota exceeded/.test(output)) {
    return new EmbeddedError('disk_full', `No space left on the disk of ${path}. Free some space and start again.`)
  }
  const complaints = output.split('\n').filter((line) => /\b(FATAL|PANIC|ERROR|error|could not)\b/.test(line))
  const complaint = complaints.at(-1)?.replace(/^.*?\b(FATAL|PANIC|ERROR|error):\s*/, '') ?? output.trim().split('\n').at(-1)
  return new EmbeddedError('start_failed', `PostgreSQL does not start in ${path}: ${complaint || otherwise}`)
}

/** Whether the disk below the directory of `path` has practically nothing left. */
function isFull(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dirname(path))
    return bavail * bsize < 1024 * 1024
  } catch {
    return false
  }
}
