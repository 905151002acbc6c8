import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** A file system of a few megabytes in memory, to be filled up. */
export interface SmallDisk {
  readonly path: string
  /** Leaves no byte free. */
  fill(): void
  /** Gives back what `fill` took. */
  free(): void
}

/** Why there can be none, or false. */
export function noSmallDisk(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'mounting takes Linux and root'
  const directory = mkdtempSync(join(tmpdir(), 'farebox-disk-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]).status === 0
  if (mounted) spawnSync('umount', [directory])
  rmSync(directory, { recursive: true, force: true })
  return mounted ? false : 'this machine lets nobody mount'
}

/** Mounts one, and takes it away when the test is over. Whatever uses it has to be opened after it. */
export function createSmallDisk(t: Test, sizeMiB: number): SmallDisk {
  const path = mkdtempSync(join(tmpdir(), 'farebox-disk-'))
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=1777`, 'tmpfs', path], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`mount: ${stderr}`)
  t.teardown(() => {
    spawnSync('umount', ['-l', path])
    rmSync(path, { recursive: true, force: true })
  })
  const ballast = join(path, 'ballast')
  return {
    path,
    fill() {
      const file = openSync(ballast, 'a')
      try {
        for (let size = 1 << 20; size > 0; ) {
          try {
            if (writeSync(file, Buffer.alloc(size)) < size) size >>= 1
          } catch {
            size >>= 1
          }
        }
      } finally {
        closeSync(file)
      }
    },
    free: () => rmSync(ballast, { force: true }),
  }
}
