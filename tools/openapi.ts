/**
 * Writes openapi.yaml from the routes and their schemas; with `--check` compares instead and exits 1 on any difference.
 * Needs no database: nothing here is ever called, only described.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describeApi } from '../src/openapi.ts'

const file = fileURLToPath(new URL('../openapi.yaml', import.meta.url))
const yaml = await describeApi()

if (process.argv.includes('--check')) {
  const checkedIn = await readFile(file, 'utf8').catch(() => '')
  if (checkedIn !== yaml) {
    console.error('openapi.yaml differs from the routes: run "npm run openapi" and commit it')
    process.exit(1)
  }
  console.log('openapi.yaml is up to date')
} else {
  await writeFile(file, yaml)
  console.log(`wrote ${file}`)
}
process.exit(0)
