/**
 * Part of deploy/image-check.sh: charges one wallet from many connections until the service is gone, then asks the database for everything
 * that was acknowledged.
 *
 *   node tools/image-load.ts BASE_URL KEY DATABASE_URL STARTED_FILE
 *
 * Ends with 1 when something acknowledged is missing, or something refused was done.
 */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import pg from 'pg'

const CLIENTS = 32
/** Enough that the load is well under way. */
const WARM = 100

const [base = '', key = '', databaseUrl = '', startedFile = ''] = process.argv.slice(2)
const acknowledged = new Set<string>()
let [refused, unanswered] = [0, 0]

async function post(path: string, idempotencyKey: string, body: object): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'idempotency-key': idempotencyKey }
  return fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body) })
}

const wallet = ((await (await post('/v1/wallets', randomUUID(), { owner: 'user:load' })).json()) as { id: string }).id
await post('/v1/grants', randomUUID(), { wallet, kind: 'purchase', amount: '1000000' })

async function client(): Promise<void> {
  for (;;) {
    const idempotencyKey = randomUUID()
    try {
      const answer = await post('/v1/charges', idempotencyKey, { wallet, amount: '0.01' })
      await answer.text()
      if (answer.status === 201) acknowledged.add(idempotencyKey)
      // A service that stops says so to whoever comes too late.
      else if (answer.status === 503) refused += 1
      else throw new Error(`answered ${answer.status}`)
      if (acknowledged.size === WARM) writeFileSync(startedFile, '')
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      unanswered += 1
      return
    }
  }
}

await Promise.all(Array.from({ length: CLIENTS }, client))
const database = new pg.Client({ connectionString: databaseUrl })
await database.connect()
const { rows } = await database.query<{ key: string }>(`select key from idempotency_keys where operation = 'charge' and status = 201`)
await database.end()
const done = new Set(rows.map((row) => row.key))
const lost = [...acknowledged].filter((one) => !done.has(one)).length
console.log(
  `acknowledged ${acknowledged.size}, lost ${lost}, refused ${refused}, without an answer ${unanswered}, done without an answer ${done.size - acknowledged.size + lost}`,
)
process.exitCode = lost === 0 && acknowledged.size >= WARM ? 0 : 1
