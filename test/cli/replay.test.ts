import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { costUnder, creditsNeeded, creditsText, microOf } from '../../src/cli/replay/expected.ts'
import { outputLimit, parseTrace } from '../../src/cli/replay/trace.ts'
import { adminKey, farebox, freePort, ready, startService, temporary, writeTrace } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'

t.test('replays against a service', async (t) => {
  const database = await createTestDatabase(t)
  const dataDir = temporary(t)
  const env = { DATABASE_URL: database.url, DATA_DIR: dataDir }
  const service = await startService(env, await freePort())
  t.teardown(() => service.stop())
  await ready(service)
  const at = ['--url', service.url, '--wallets', '5']

  await t.test('and agrees with a sum worked out by hand', async (t) => {
    const file = join(dataDir, 'small.csv')
    // $0.15 and $0.6 a million tokens at 120 credits a dollar: 18 and 72 micro-credits a token, at least 10,000 a charge.
    const rows = [
      '2023-11-16 18:15:46.6805900,374,44',
      '2023-11-16 18:15:47,10000,0',
      '2023-11-16T18:15:48.5Z,1000,1000',
      '2023-11-16 18:15:49,0,0',
    ]
    writeFileSync(file, [HEADER, ...rows, ''].join('\n'))
    const { status, stdout, stderr } = await farebox(['replay', file, ...at], env)
    t.equal(status, 0, stderr)
    const sum = 10_000n + 180_000n + 90_000n + 0n
    t.match(stdout, new RegExp(`^charged {7}${creditsText(sum)} credits by the answers$`, 'm'))
    t.match(stdout, new RegExp(`^expected {6}${creditsText(sum)} credits by the trace: equal$`, 'm'))
    t.match(stdout, new RegExp(`^spent {9}${creditsText(sum)} credits by the wallets: equal$`, 'm'))
    t.match(stdout, /^operations {4}8 \(4 reserves, 4 commits\)$/m)
    t.match(stdout, /^verify {8}All \d+ invariants hold/m)
    t.match(stderr, /at 120 credits a dollar/)
  })

  await t.test('and resumes a run of the same id exactly', async (t) => {
    const file = writeTrace(join(dataDir, 'trace.csv'), 60)
    const args = ['replay', file, ...at, '--run-id', 'again', '--credits', '100']
    const part = await farebox([...args, '--limit', '20', '--no-verify'], env)
    t.equal(part.status, 0, part.stderr)
    t.notMatch(part.stdout, /invariants/)
    const rest = await farebox(args, env)
    // What the wallets spent in the first part is among the charges of the second: nothing is charged twice.
    t.equal(rest.status, 0, rest.stdout + rest.stderr)
    t.match(rest.stdout, /^acknowledged {2}120, of them 40 replayed answers$/m)
    const other = await farebox([...args, '--model', 'gpt-4o'], env)
    t.equal(other.status, 1)
    t.match(other.stderr + other.stdout, /idempotency_key_reused/)
  })

  await t.test('and counts refusals by code', async (t) => {
    const file = writeTrace(join(dataDir, 'poor.csv'), 30)
    const { status, stdout } = await farebox(['replay', file, ...at, '--credits', '0.2', '--model', 'gpt-4o', '--concurrency', '3'], env)
    t.equal(status, 1)
    t.match(stdout, /^ +\d+ × reserve insufficient_credits$/m)
    t.match(stdout, /^wrong {9}\d+ rows are not charged as expected: \d+/m)
    t.match(stdout, /credits by the wallets: equal$/m)
  })

  await t.test('and keeps to the recorded pace', async (t) => {
    const file = join(dataDir, 'paced.csv')
    writeFileSync(file, [HEADER, '2023-11-16 18:15:46,10,10', '2023-11-16 18:15:47,10,10', '2023-11-16 18:15:48,10,10'].join('\r\n'))
    const { status, stdout } = await farebox(['replay', file, ...at, '--speed', '2'], env)
    t.equal(status, 0)
    const seconds = Number(/^time +([\d.]+) s/m.exec(stdout)?.[1])
    t.ok(seconds >= 1 && seconds < 3, `2 seconds at twice the pace took ${seconds}`)
  })

  await t.test('and merges several files by time', async (t) => {
    const one = writeTrace(join(dataDir, 'one.csv'), 10)
    const two = writeTrace(join(dataDir, 'two.csv'), 15)
    const { status, stdout, stderr } = await farebox(['replay', one, two, ...at, '--key', adminKey(dataDir)], env)
    t.equal(status, 0, stderr)
    t.match(stdout, /^operations {4}50 /m)
  })

  await t.test('and says what is wrong with what it was given', async (t) => {
    const file = join(dataDir, 'wrong.csv')
    writeFileSync(file, [HEADER, '2023-11-16 18:15:46.6805900,374,44', '2023-11-16 18:15:50,-3,1'].join('\r\n'))
    const malformed = await farebox(['replay', file, ...at], env)
    t.equal(malformed.status, 1)
    t.match(malformed.stderr, /^farebox: .*wrong\.csv, line 3: must be a time and two whole numbers, .* is "2023-11-16 18:15:50,-3,1"\n$/)
    t.match((await farebox(['replay', join(dataDir, 'nothing.csv'), ...at], env)).stderr, /^farebox: There is no file /)
    writeFileSync(file, `${HEADER}\n`)
    t.match((await farebox(['replay', file, ...at], env)).stderr, /^farebox: The trace has no rows\.\n$/)
    const trace = writeTrace(file, 3)
    t.match((await farebox(['replay', trace, ...at, '--key', 'wrong'], env)).stderr, /the service answers 401 unauthenticated/)
    t.match(
      (await farebox(['replay', trace, ...at, '--model', 'gpt-9'], env)).stderr,
      /^farebox: There is no price for model gpt-9\. GET \/v1\/models lists/,
    )
    const nowhere = ['--url', `http://127.0.0.1:${await freePort()}`, '--retry-for-seconds', '0']
    const away = await farebox(['replay', trace, ...nowhere], env)
    t.equal(away.status, 1)
    t.match(away.stderr, /^farebox: The service at .* cannot be reached: ECONNREFUSED\. Is it running\?/)
    const keyless = await farebox(['replay', trace, ...at], { ...env, DATA_DIR: temporary(t) })
    t.match(keyless.stderr, /^farebox: There is no .*admin-key\. Name a key with --key/)
  })
})

t.test('reads traces in all the forms that they come in, and nothing else', async (t) => {
  const row = { at: Date.UTC(2023, 10, 16, 18, 15, 46, 680), inputTokens: 374, outputTokens: 44 }
  for (const line of ['2023-11-16 18:15:46.6805900,374,44', '2023-11-16T18:15:46.680Z,374,44', '2023-11-16 20:15:46.680000+02:00,374,44']) {
    t.same(parseTrace(`${HEADER}\n${line}\n`, 'x'), [row])
    t.same(parseTrace(`\uFEFF${HEADER}\r\n${line}`, 'x'), [row])
  }
  for (const [text, message] of [
    ['', /line 1: must be the header .* is empty/],
    ['a,b,c\n', /line 1: must be the header .* is "a,b,c"/],
    [`${HEADER}\n\n2023-11-16 18:15:46,1,1`, /line 2: .* is empty/],
    [`${HEADER}\n2023-11-16 18:15:46,1`, /line 2/],
    [`${HEADER}\n2023-13-16 18:15:46,1,1`, /line 2/],
    [`${HEADER}\n2023-11-16 18:15:46,1.5,1`, /line 2/],
    [`${HEADER}\n2023-11-16 18:15:46,1,1,1`, /line 2/],
    [`${HEADER}\n2023-11-16 18:15:46, 1,1`, /line 2/],
    [`${HEADER}\n${'x'.repeat(100)}`, /is "x{60}…"/],
  ] as const) {
    t.throws(() => parseTrace(text, 'x'), { message }, text)
  }
})

t.test('works out costs in integers of its own', async (t) => {
  const costOf = costUnder({ inputUsd: '0.3', outputUsd: '2.25', creditsPerUsd: '1.111', minimum: '0.00001' })
  t.equal(costOf(0, 0), 0n)
  t.equal(costOf(1, 0), 10n, 'the minimum')
  t.equal(costOf(10_000, 0), 3_333n, 'exactly')
  t.equal(costOf(10_001, 0), 3_334n, 'rounded up')
  t.equal(costOf(2, 5), 14n, 'one rounding of the sum: 0.6666 + 12.49875')
  const large = costUnder({ inputUsd: '0.15', outputUsd: '0.6', creditsPerUsd: '120', minimum: '0' })
  t.equal(large(2 ** 30, 2 ** 30), 90n * 2n ** 30n)
  t.equal(microOf('12.5'), 12_500_000n)
  t.equal(microOf('-0.000001'), -1n)
  t.throws(() => microOf('1e3'))
  t.equal(creditsText(-1n), '-0.000001')
  const rows = [1, 64, 65, 1_000].map((outputTokens) => ({ at: 0, inputTokens: 0, outputTokens }))
  t.same(rows.map(outputLimit), [64, 64, 128, 1024])
  t.equal(
    creditsNeeded(rows, 2, (row) => BigInt(row.outputTokens) * 1_000_000n),
    1_065n,
    'the busiest wallet has rows 2 and 4',
  )
})
