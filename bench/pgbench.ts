import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ask } from './environment.ts'

/**
 * What PostgreSQL does by itself, without HTTP, JSON or checks of the request: one PL/pgSQL call and one transaction a reserve,
 * writing the same rows into the same tables. `pgbench` calls it over prepared statements.
 */

const CLIENTS = [8, 32, 64] as const

const bodyOf = (
  id: string,
) => `'{"id":"rsv_' || replace(${id}::text, '-', '') || '","wallet_id":"wal_0192f3c4d5e67abc8def0123456789ab","status":"held",' ||
  '"requested":"0.001","amount":"0.001","captured":"0","released":"0","cost":"0","reference":null,"metadata":null,' ||
  '"expires_at":"2026-01-31T12:00:00.000Z","created_at":"2026-01-31T12:00:00.000Z","finalized_at":null,' ||
  '"wallet":{"id":"wal_0192f3c4d5e67abc8def0123456789ab","version":12345,"balance":"1000000000","held":"12.345","available":"999999987.655","debt":"0"}}'`

const functions = (clientId: string, wallets: number, newId: string) => `
create or replace function bench_wallet(n int) returns uuid language sql immutable as $$ select md5('bench wallet ' || n)::uuid $$;

insert into wallets (id, client_id, owner_kind, owner_id, balance, created_at, updated_at)
  select bench_wallet(n), '${clientId}', 'pgbench', n::text, 1000000000000000, now(), now() from generate_series(1, ${wallets}) as n;
insert into grants (wallet_id, id, kind, amount, remaining, held, priority, effective_at, posted_at, created_at)
  select bench_wallet(n), md5('bench grant ' || n)::uuid, 'purchase', 1000000000000000, 1000000000000000, 0, 50, now(), now(), now()
  from generate_series(1, ${wallets}) as n;

create or replace function bench_reserve(n int) returns uuid language plpgsql as $$
declare
  amount_ constant bigint := 1000;
  id_ uuid := ${newId};
  key_ text := ${newId}::text;
  wallet_ uuid := bench_wallet(n);
  now_ timestamptz;
  w record;
  g record;
begin
  select balance, held, version into strict w from wallets where id = wallet_ for no key update;
  now_ := clock_timestamp();
  insert into idempotency_keys (client_id, operation, key, fingerprint, status, body, effect_id, wallet_id, created_at)
    values ('${clientId}', 'reserve', key_, sha256(key_::bytea), 201, ${bodyOf('id_')}, id_, wallet_, now_)
    on conflict do nothing;
  if not found then
    return null;
  end if;
  if w.balance - w.held < amount_ then
    raise exception 'not enough credits';
  end if;
  select id, remaining, held into strict g from grants where wallet_id = wallet_ and spent_at is null order by priority limit 1;
  update grants set held = held + amount_ where wallet_id = wallet_ and id = g.id;
  insert into reservations (wallet_id, id, status, requested, amount, draws, quote, client_id, expires_at, created_at)
    values (wallet_, id_, 'held', amount_, amount_, ('[{"grant":"' || g.id || '","amount":"1000"}]')::json,
      '{"n":"1000","d":"1","min":"0","exempt":false,"terms":{"policy":null,"minimum":"10000","maximum":"1000000000000"}}',
      '${clientId}', now_ + interval '1 day', now_);
  update wallets set held = held + amount_, version = version + 1, updated_at = now_ where id = wallet_;
  return id_;
end $$;

create table if not exists bench_rows (id uuid primary key, n int not null);
create or replace function bench_one_row(n int) returns uuid language plpgsql as $$
declare
  id_ uuid := ${newId};
begin
  insert into bench_rows values (id_, n);
  return id_;
end $$;
`

export interface Pgbench {
  /** Calls of a function in a second, over random wallets. */
  run(name: 'bench_reserve' | 'bench_one_row', clients: number, seconds: number): Promise<number>
  /** The number of clients with the most calls in a second. */
  best(name: 'bench_reserve' | 'bench_one_row', seconds: number): Promise<{ clients: number; tried: Record<string, number> }>
  close(): Promise<void>
}

/** Prepares the functions, or returns null where there is no pgbench. */
export async function preparePgbench(url: string, clientId: string, wallets: number): Promise<Pgbench | null> {
  const program = process.env.PGBENCH ?? 'pgbench'
  if (spawnSync(program, ['--version']).status !== 0) return null
  const [version] = await ask(url, `select current_setting('server_version_num')::int >= 180000 as has_v7`)
  await ask(url, functions(clientId, wallets, version?.has_v7 === true ? 'uuidv7()' : 'gen_random_uuid()'))
  const directory = await mkdtemp(join(tmpdir(), 'farebox-pgbench-'))
  const { hostname, port, username, password, pathname } = new URL(url)
  const env = { ...process.env, PGPASSWORD: decodeURIComponent(password) }
  const address = ['-h', hostname, '-p', port || '5432', '-U', decodeURIComponent(username)]

  async function run(name: string, clients: number, seconds: number): Promise<number> {
    const file = join(directory, `${name}.sql`)
    await writeFile(file, `\\set n random(1, ${wallets})\nselect ${name}(:n);\n`)
    const options = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '2', '-T', String(seconds), '-f', file]
    const child = spawn(program, [...options, ...address, pathname.slice(1)], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (data: string) => {
        text += data
      })
    }
    const status = await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    const perSecond = /tps = ([0-9.]+)/.exec(text)?.[1]
    if (status !== 0 || perSecond === undefined) throw new Error(`pgbench failed: ${text}`)
    return Number(perSecond)
  }

  return {
    run,
    async best(name, seconds) {
      const tried: Record<string, number> = {}
      let clients: number = CLIENTS[0]
      for (const candidate of CLIENTS) {
        tried[candidate] = Math.round(await run(name, candidate, seconds))
        if ((tried[candidate] ?? 0) > (tried[clients] ?? 0)) clients = candidate
      }
      return { clients, tried }
    },
    close: () => rm(directory, { recursive: true, force: true }),
  }
}
