#!/usr/bin/env node
/**
 * Starts the command line on a Node that can run it, from source in the repository and from dist where there is only that.
 *
 * Plain JavaScript without dependencies, because `npx farebox` runs it with whatever Node the machine has. The project
 * brings its own Node as a development dependency; an older one hands over to that.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const self = fileURLToPath(import.meta.url)
const root = join(dirname(self), '..')
const [major, minor] = process.versions.node.split('.').map(Number)

if (major > 22 || (major === 22 && minor >= 18)) await run()
else handOver()

async function run() {
  const source = join(root, 'src/cli.ts')
  if (existsSync(source)) {
    // A fresh clone has no database client yet.
    const generated = spawnSync(process.execPath, [join(root, 'tools/generate.mjs')], { stdio: ['ignore', 'inherit', 'inherit'] })
    if (generated.status !== 0) process.exit(generated.status ?? 1)
    await import(pathToFileURL(source).href)
  } else {
    process.setSourceMapsEnabled(true)
    await import(pathToFileURL(join(root, 'dist/cli.js')).href)
  }
}

function handOver() {
  const node = join(root, 'node_modules/node/bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (!existsSync(node)) {
    process.stderr.write(
      `farebox needs Node 22.18 or newer, and this is ${process.version}. ` +
        'Install a newer one, or the Node that the project brings: "npm ci", or "npm rebuild node" after an install without scripts.\n',
    )
    process.exit(1)
  }
  const child = spawn(node, [self, ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
    process.on(signal, () => {
      // A terminal has sent Ctrl-C to the child already, and a second one would mean "at once".
      const sentByTerminal = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT')
      if (!sentByTerminal) child.kill(signal)
    })
  }
  child.once('error', (error) => {
    process.stderr.write(`${node} does not run: ${error.message}\n`)
    process.exit(1)
  })
  child.once('exit', (status, signal) => process.exit(status ?? 128 + (constants.signals[signal] ?? 0)))
}
