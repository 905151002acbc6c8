import { spawn } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Mutant } from './mutants.ts'

/** Applies mutants to a copy of the project and runs the tests that have to die of them. */

const ROOT = join(import.meta.dirname, '../..')
/** What tests read; everything that is installed or built is shared. */
const COPIED = ['src', 'test', 'tools', 'prisma', 'docs', 'bin', 'package.json', 'openapi.yaml', 'asyncapi.yaml', 'tsconfig.json', '.taprc']

/** How often each edit's text occurs; anything but once is an error of the list. */
export function occurrences(mutant: Mutant): number[] {
  return mutant.edits.map(({ file, from }) => {
    const path = join(ROOT, file)
    return existsSync(path) ? readFileSync(path, 'utf8').split(from).length - 1 : 0
  })
}

export interface Death {
  /** Whether an assertion of the killer failed, as it has to: a source that cannot be loaded proves nothing. */
  readonly killed: boolean
  readonly failed: boolean
  /** The first assertion that failed, or the last words. */
  readonly of: string
  readonly ms: number
}

export interface Tree {
  /** Runs the killer on the copy: with the mutant, or without where it is null. */
  run(mutant: Mutant | null, killer: Mutant['killer']): Promise<Death>
  remove(): void
}

/** A copy of the project to make mistakes in. */
export async function copyTree(): Promise<Tree> {
  const root = await mkdtemp(join(tmpdir(), 'farebox-mutant-'))
  for (const name of COPIED) cpSync(join(ROOT, name), join(root, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  return {
    async run(mutant, killer) {
      const edited = [...new Set(mutant?.edits.map(({ file }) => file))]
      try {
        for (const { file, from, to } of mutant?.edits ?? []) {
          const path = join(root, file)
          writeFileSync(
            path,
            readFileSync(path, 'utf8').replace(from, () => to),
          )
        }
        return await die(root, killer)
      } finally {
        for (const file of edited) cpSync(join(ROOT, file), join(root, file))
      }
    },
    remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 3 }),
  }
}

/** A mutant may also make its test wait for ever; and a test on a busy machine is no death. */
const KILLER_SECONDS_MAX = 240

async function die(root: string, [file, ...flags]: Mutant['killer']): Promise<Death> {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...env } = process.env
  const started = performance.now()
  const child = spawn(process.execPath, [file, ...flags], {
    cwd: root,
    env: { ...env, TAP_TIMEOUT: String(KILLER_SECONDS_MAX) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), 2 * KILLER_SECONDS_MAX * 1_000)
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  const [first] = /^ *not ok \d+ - (.*?)(?: \{| # |$)/m.exec(output)?.slice(1) ?? []
  return {
    killed: status !== 0 && first !== undefined,
    failed: status !== 0,
    of: status === 0 ? '' : (first ?? output.trim().split('\n').at(-1) ?? ''),
    ms: performance.now() - started,
  }
}
