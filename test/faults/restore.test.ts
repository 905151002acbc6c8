/**
 * The book is lost and comes back from a backup that was taken under load: by pg_basebackup, and by pg_dump into another cluster. What
 * was acknowledged before the backup began is there and replays byte for byte, the invariants hold, and a client that has seen
 * newer versions takes the restored state, because the epoch is another one.
 *
 * In a test run each happens once. The long form has so many seconds of load on either side of the backup:
 *
 *   node test/faults/restore.test.ts --seconds=60
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { type Balance, createFarebox } from '../../src/client/index.ts'
import { installJobs } from '../../src/jobs/install.ts'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { verify } from '../../src/ledger/verify-pg.ts'
import { migrate } from '../../src/platform/migrate.ts'
import { MIGRATIONS_DIR, seedLists } from '../../src/prepare.ts'
import { asRestored, copyInto, noBackupTools, type PlainCluster, startCluster } from '../helpers/backup.ts'
import { farebox, freePort, temporary } from '../helpers/cli.ts'
import { startProcess } from '../helpers/process.ts'
import { type Answer, type Caller, callerAt, JWT_SECRET, times } from '../helpers/service.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' } }, strict: false })
const SECONDS = Number(values.seconds ?? 2)
const CLIENTS = 16
const WALLETS = 20
/** So many on either side of the backup are sent again. */
const AGAIN_MAX = 300

t.setTimeout(300_000 + 4_000 * SECONDS)

/** How a backup is taken, and how a cluster comes of it. The steps are those of docs/backup.md. */
const FORMS: Readonly<Record<string, (source: PlainCluster, dir: string) => Form>> = {
  pg_basebackup: (source, dir) => ({
    backUp: () => source.run('pg_basebackup', ['-d', source.url, '-D', dir, '-X', 'stream', '-c', 'fast']),
    restore: (t) =>
      startCluster(t, async (data) => {
        copyInto(dir, data)
        asRestored(data)
      }),
  }),
  pg_dump: (source, dir) => ({
    backUp: () => source.run('pg_dump', ['-d', source.url, '-Fd', '-f', `${dir}/dump`]),
    async restore(t) {
      const target = await startCluster(t)
      await target.run('pg_restore', ['-d', target.url, '--exit-on-error', `${dir}/dump`])
      return target
    },
  }),
}

interface Form {
  backUp(): Promise<void>
  restore(t: Test): Promise<PlainCluster>
}

for (const [form, prepare] of Object.entries(FORMS)) {
  t.test(`restored from ${form} under load`, { skip: noBackupTools() }, async (t) => {
    const source = await startCluster(t)
    await migrate(source.url, { dir: MIGRATIONS_DIR, log: { info() {}, warn: console.error } })
    await installJobs(source.url)
    await seedLists(source.url)
    const { backUp, restore } = prepare(source, source.directory('backup'))
    const env = { DATA_DIR: temporary(t), JWT_SECRET, PORT: String(await freePort()), DOCS: 'false', LOG_LEVEL: 'error' }
    const scopes = ['wallets:read', 'wallets:write', 'usage:write', 'grants:write'].flatMap((scope) => ['--scope', scope])
    const issued = await farebox(['keys', 'create', '--name', 'load', ...scopes], { ...env, DATABASE_URL: source.url })
    const key = /fbx_[\w-]+/.exec(issued.stdout)?.[0] ?? ''
    t.equal(issued.status, 0, issued.stderr)
    const before = await startProcess(t, { ...env, DATABASE_URL: source.url })
    const service = callerAt(before.url, () => key)
    const ids: string[] = await Promise.all(times(WALLETS, async (n) => (await service.made('/v1/wallets', { owner: `user:${n}` })).id))
    await Promise.all(ids.map((wallet) => service.made('/v1/grants', { wallet, kind: 'purchase', amount: '100000' })))
    const followed = ids[0] as string
    const client = follow(t, before.url, followed, service)

    const load = startLoad(service, ids)
    await load.for(SECONDS)
    const mark = load.acknowledged.length
    const backUpSeconds = await secondsOf(backUp)
    await load.for(SECONDS)
    await load.stop()
    const seen = await client.atLeast((await service.get(`/v1/wallets/${followed}/balance`)).body.version)
    await before.end()
    await source.stop()

    let target!: PlainCluster
    const restoreSeconds = await secondsOf(async () => {
      target = await restore(t)
    })
    t.same(await broken(target.url), [], 'the restored book is sound')
    const after = await startProcess(t, { ...env, DATABASE_URL: target.url })
    t.equal(after.url, before.url, 'clients find it where it was')
    const restored = callerAt(after.url, () => key)
    const { version } = (await restored.get(`/v1/wallets/${followed}/balance`)).body
    t.ok(version < seen.version, `the restored wallet is behind what was seen: ${version} < ${seen.version}`)
    const resynced = await client.ofAnotherEpoch(seen.epoch)
    t.equal(resynced.version, version, 'the client has taken the older state')

    let lost = 0
    for (const { path, body, key: idempotencyKey, answer } of spread(load.acknowledged.slice(0, mark))) {
      const again = await restored.post(path, body, { idempotencyKey })
      if (again.headers['idempotent-replayed'] !== 'true' || again.text !== answer.text) lost += 1
    }
    t.equal(lost, 0, 'what was acknowledged before the backup began replays byte for byte')
    const later = { replayed: 0, gone: 0 }
    for (const { path, body, key: idempotencyKey, answer } of spread(load.acknowledged.slice(mark))) {
      const again = await restored.post(path, body, { idempotencyKey })
      if (again.headers['idempotent-replayed'] === 'true') {
        later.replayed += 1
        t.equal(again.text, answer.text)
      } else {
        later.gone += 1
        // A reservation that the backup had not seen cannot be settled.
        t.ok(again.status === answer.status || again.status === 404, `${path} answered ${again.status}`)
      }
    }
    t.ok(later.gone > 0, 'what came after the backup is gone, and may be sent again')
    t.same(await broken(target.url), [], 'and is sound after going on')
    const [row] = await query(
      target.url,
      `select pg_size_pretty(pg_database_size(current_database())) as size,
       (select count(*)::int from (select from idempotency_keys group by client_id, operation, key having count(*) > 1) as twice) as doubled`,
    )
    t.equal(row?.doubled, 0)
    t.comment(
      `F20: ${form}: acknowledged ${load.acknowledged.length} (${mark} before the backup), lost ${lost}, doubled ${row?.doubled}, ` +
        `of those after it ${later.replayed} there and ${later.gone} gone in a sample, backup ${backUpSeconds.toFixed(1)} s, ` +
        `restore ${restoreSeconds.toFixed(1)} s (${row?.size}), epoch changed, client resynced, invariants 0`,
    )
  })
}

interface Sent {
  readonly path: string
  readonly body: object
  readonly key: string
  readonly answer: Answer
}

/** Clients that charge, reserve and settle until they are told to stop; everything acknowledged is kept in order. */
function startLoad(service: Caller, wallets: readonly string[]) {
  const acknowledged: Sent[] = []
  let isOver = false
  async function send(path: string, body: object): Promise<Answer> {
    const key = randomUUID()
    const answer = await service.post(path, body, { idempotencyKey: key })
    if (answer.status < 300) acknowledged.push({ path, body, key, answer })
    return answer
  }
  const clients = Promise.all(
    times(CLIENTS, async (n) => {
      for (let round = n; !isOver; round += 1) {
        const wallet = wallets[round % wallets.length]
        await send('/v1/charges', { wallet: wallets[0], amount: '0.01' })
        const { status, body } = await send('/v1/reservations', { wallet, amount: '1' })
        if (status === 201)
          await send(`/v1/reservations/${body.id}/${round % 3 ? 'commit' : 'release'}`, round % 3 ? { amount: '0.5' } : {})
      }
    }),
  )
  return {
    acknowledged,
    async for(seconds: number) {
      const from = acknowledged.length
      await sleep(seconds * 1_000)
      // On a busy machine it may take longer until there is something to lose.
      while (acknowledged.length < from + 100) await sleep(20)
    },
    async stop() {
      isOver = true
      await clients
    },
  }
}

/** A client of the feed, as a page has it. */
function follow(t: Test, url: string, wallet: string, service: Caller) {
  const states: Balance[] = []
  const client = createFarebox({ url, ticket: async () => (await service.made('/v1/realtime/tickets')).ticket })
  t.teardown(client.close)
  client.subscribe(wallet, (balance) => states.push(balance))
  const until = async (isIt: (balance: Balance) => boolean) => {
    for (;;) {
      const last = states.at(-1)
      if (last && isIt(last)) return last
      await sleep(20)
    }
  }
  return {
    atLeast: (version: number) => until((balance) => balance.version >= version),
    ofAnotherEpoch: (epoch: string) => until((balance) => balance.epoch !== epoch),
  }
}

/** Some of a long list, from its beginning to its end. */
function spread<T>(all: readonly T[]): T[] {
  const step = Math.max(1, Math.floor(all.length / AGAIN_MAX))
  return all.filter((_, index) => index % step === 0 || index === all.length - 1)
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  await work()
  return (performance.now() - from) / 1_000
}

async function broken(url: string) {
  const findings = await verify(url)
  if (findings.length !== INVARIANTS.length) throw new Error('not every invariant was looked at')
  return findings.filter((finding) => finding.broken > 0)
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}
