import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, dataOf, SUPERUSER } from './cluster.ts'
import { childEnvironment } from './environment.ts'
import { fromFileError, fromOutput } from './error.ts'
import type { Place } from './place.ts'

/** The major version that made the cluster, or undefined when there is none yet. */
export function clusterMajor(place: Place): number | undefined {
  try {
    return Number.parseInt(readFileSync(join(dataOf(place), 'PG_VERSION'), 'utf8'), 10)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !existsSync(dataOf(place))) return undefined
    throw fromFileError(error, dataOf(place))
  }
}

/**
 * Makes an empty cluster. It is made under another name and renamed, so that a half-made one is never taken for the real one.
 * The builtin locale gives every platform the same sort order.
 */
export function makeCluster({ place, binaries }: Cluster, passwordFile: string, durable: boolean): void {
  const draft = join(place.root, 'pg.init')
  try {
    rmSync(draft, { recursive: true, force: true })
    mkdirSync(draft, { mode: 0o700 })
    if (place.account) chownSync(draft, place.account.uid, place.account.gid)
  } catch (error) {
    throw fromFileError(error, draft)
  }
  const args = ['-D', draft, '-U', SUPERUSER, '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--encoding=UTF8', '--no-instructions']
  args.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C')
  if (!durable) args.push('--no-sync')
  const run = spawnSync(binaries.initdb, args, {
    ...place.account,
    cwd: draft,
    env: childEnvironment(),
    encoding: 'utf8',
    windowsHide: true,
  })
  if (run.status !== 0) {
    throw fromOutput(
      `${run.stdout ?? ''}\n${run.stderr ?? ''}`,
      `initdb ended with ${run.error?.message ?? run.status ?? run.signal}`,
      draft,
    )
  }
  renameSync(draft, dataOf(place))
}
