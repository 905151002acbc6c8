import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { makeRichBook } from '../helpers/rich-book.ts'
import { createService, type TestService } from '../helpers/service.ts'

/** What has to hold for the rows of one wallet to live together: docs/scale.md. */

/** The column that says where a row lives. */
const PLACED_BY: Readonly<Record<string, string>> = {
  wallets: 'id',
  grants: 'wallet_id',
  reservations: 'wallet_id',
  charges: 'wallet_id',
  transactions: 'wallet_id',
  idempotency_keys: 'key',
}
/** Not solved by the script, and said so in docs/scale.md. */
const IN_THE_WAY = ['wallets_client_id_owner_kind_owner_id_key']

interface Unique {
  readonly table: string
  readonly name: string
  readonly primary: boolean
  readonly columns: readonly string[]
}

function uniques({ query }: TestService): Promise<Unique[]> {
  return query<Unique & Record<string, unknown>>(
    `select c.relname as table, i.relname as name, x.indisprimary as primary,
       (select array_agg(a.attname::text order by k.n) from unnest(x.indkey) with ordinality as k(attnum, n)
        join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum) as columns
     from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
     where x.indisunique and c.relnamespace = 'public'::regnamespace`,
  )
}

t.test('the rows of a wallet can live together', async (t) => {
  const service = await createService(t)
  const keys = (await uniques(service)).filter(({ primary }) => primary)
  for (const [table, column] of Object.entries(PLACED_BY)) {
    const columns = keys.find((key) => key.table === table)?.columns ?? []
    if (column === 'wallet_id') t.equal(columns[0], 'wallet_id', `${table} leads its key with wallet_id`)
    else t.ok(columns.includes(column), `${table} has ${column} in its key`)
  }

  const script = await readFile(join(import.meta.dirname, '../../deploy/citus/distribute.sql'), 'utf8')
  const [plain, citus] = script.split('-- 2. ') as [string, string]
  await service.query(plain)
  const wrong = (await uniques(service)).filter(({ table, columns }) => table in PLACED_BY && !columns.includes(PLACED_BY[table] as string))
  const names = wrong.map(({ name }) => name)
  t.same(names, IN_THE_WAY, 'every other unique index of these tables holds the column that they are placed by')
  for (const table of Object.keys(PLACED_BY)) t.match(citus, `'${table}'`, `the script places ${table}`)

  await makeRichBook(service)
  t.same(await service.unsound(), [], 'the service does not rely on the indexes that the script takes away')
})
