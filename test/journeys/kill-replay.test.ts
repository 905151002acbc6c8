/**
 * Replays a trace while the service is killed (SIGKILL) and started again, over and over: nothing that was acknowledged may be
 * lost, nothing may be charged twice, and every invariant must hold at the end.
 *
 * In a test run it is short and uses a database of the test server. The long form has its own embedded, durable database in a
 * temporary directory, whose PostgreSQL is orphaned by each kill and taken over by the next start:
 *
 *   node test/journeys/kill-replay.test.ts --kills=10 --file=azure-llm-2023-conv.csv [--file=azure-llm-2023-code.csv]
 */
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t from 'tap'
import { farebox, freePort, ready, type Service, startService, temporary, writeTrace } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '3' }, file: { type: 'string', multiple: true } },
  strict: false,
})
const kills = Number(values.kills)
const ROWS = 600
const RECORDED_SECONDS = ROWS * 0.18
/** More than a start takes on a busy machine; with a database of its own that has to be ended and started, too. */
const SECONDS_PER_KILL = process.env.TEST_TEMPLATE ? 5 : 15
/** How long a service lives: from its first answer on, so that each one gets some work done. */
const ALIVE_MS_MIN = 150
const ALIVE_MS_SPREAD = 700

/** Resolves when the replay has got past opening its wallets: version 1 is a wallet opened, 2 one with credits, 3 one with a hold. */
async function reserving(service: Service, dataDir: string): Promise<void> {
  const key = readFileSync(join(dataDir, 'admin-key'), 'utf8').trim()
  for (;;) {
    const answer = await fetch(`${service.url}/v1/wallets?limit=200`, { headers: { authorization: `Bearer ${key}` } })
    const { data } = (await answer.json()) as { data: { version: number }[] }
    if (data.some((wallet) => wallet.version > 2)) return
    await sleep(100)
  }
}

/** What was charged by the answers, by the trace and by the wallets. */
function isEqual(report: string): boolean {
  return /by the trace: equal$/m.test(report) && /by the wallets: equal$/m.test(report)
}

t.setTimeout(values.file ? 900_000 : 60_000 + kills * 4_000 * SECONDS_PER_KILL)

t.test(`a replay through ${kills} kills of the service charges every row once`, async (t) => {
  const dataDir = temporary(t)
  chmodSync(dataDir, 0o711)
  const files = (values.file as string[] | undefined) ?? [writeTrace(join(dataDir, 'trace.csv'), ROWS)]
  const env: Record<string, string> = { DATA_DIR: dataDir }
  if (process.env.TEST_TEMPLATE) env.DATABASE_URL = (await createTestDatabase(t)).url
  const port = await freePort()

  let service: Service = await startService(env, port)
  t.teardown(() => service.stop())
  await ready(service)

  // A short trace is paced, so that it is still under way at the last kill; a long one takes long enough.
  const speed = values.file ? 0 : RECORDED_SECONDS / (SECONDS_PER_KILL * kills)
  const args = ['replay', ...files, '--url', service.url, '--wallets', '50', '--run-id', 'kill']
  const replaying = farebox([...args, '--speed', speed.toFixed(3)], env)
  let landed = false
  const ended = replaying.then(() => {
    landed = true
  })
  await Promise.race([ended, reserving(service, dataDir)])
  let killed = 0
  while (killed < kills && !landed) {
    await Promise.race([ended, sleep(ALIVE_MS_MIN + Math.random() * ALIVE_MS_SPREAD)])
    if (landed) break
    await service.kill()
    killed += 1
    service = await startService(env, port)
    await ready(service)
  }

  const { status, stdout, stderr } = await replaying
  t.comment(stdout)
  const count = (name: string) => new RegExp(`^${name} +(\\d+)`, 'm').exec(stdout)?.[1]
  t.comment(
    `kill-replay: ${killed} kills: ${count('acknowledged')} acknowledged of ${count('operations')} commands, ${count('retries')} retries, ${count('refused')} refused; charged, expected and spent are ${isEqual(stdout) ? 'equal' : 'DIFFERENT'}`,
  )
  t.equal(killed, kills, 'the replay was under way at every kill')
  t.equal(status, 0, stderr)
  t.match(stdout, /^refused {7}0$/m)
  t.ok(isEqual(stdout), 'the sums are equal')
  t.match(stdout, /All \d+ invariants hold/)
  t.notMatch(stdout, /^retries {7}0$/m, 'some commands met a dead service')

  await t.test('and a second replay of the same run only replays answers', async (t) => {
    const again = await farebox(args, env)
    t.equal(again.status, 0, again.stderr)
    const [, acknowledged, replayed] = /^acknowledged {2}(\d+), of them (\d+) replayed/m.exec(again.stdout) ?? []
    t.equal(replayed, acknowledged)
    const charged = /^charged .*$/m
    t.equal(charged.exec(again.stdout)?.[0], charged.exec(stdout)?.[0])
  })
})
