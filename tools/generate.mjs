/**
 * Makes src/generated/prisma from prisma/schema.prisma when it is missing or old. It hangs on the `pre…` scripts, not on
 * `postinstall`, so that it also works after `npm ci --ignore-scripts` and never runs in a production install.
 *
 * Plain JavaScript, because it is the first file that runs: it must be able to say so when Node is too old for the rest.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const output = join(root, 'src/generated/prisma')
const stampFile = join(output, '.stamp')

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  fail(
    `farebox needs Node 22.18 or newer, and this is ${process.version}. The project brings its own Node 24 as a package:\n` +
      'run "npm rebuild node" (its install script was skipped), then the same npm command again.',
  )
}

const require = createRequire(import.meta.url)
let prisma
try {
  prisma = require.resolve('prisma/package.json')
} catch {
  fail('The development dependencies are not installed. Run "npm ci" first.')
}

const schemaFile = join(root, 'prisma/schema.prisma')
const stamp = `${JSON.parse(readFileSync(prisma, 'utf8')).version}\n${readFileSync(schemaFile, 'utf8')}`
if (readStamp() === stamp) process.exit(0)

// A model that was dropped from the schema must not live on as a generated file.
rmSync(output, { recursive: true, force: true })
const run = spawnSync(process.execPath, [join(dirname(prisma), 'build/index.js'), 'generate'], {
  cwd: root,
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'pipe'],
  env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1' },
})
if (run.status !== 0) {
  fail(`prisma generate failed:\n${run.error?.message ?? ''}${run.stdout ?? ''}${run.stderr ?? ''}`)
}
mkdirSync(output, { recursive: true })
writeFileSync(stampFile, stamp)

function readStamp() {
  try {
    return readFileSync(stampFile, 'utf8')
  } catch {
    return undefined
  }
}

/** @param {string} message */
function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
