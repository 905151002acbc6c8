import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import t from 'tap'
import { farebox, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

const listOf = (prices: Record<string, readonly [input: string, output: string]>) =>
  `{${Object.entries(prices)
    .map(
      ([model, [input, output]]) =>
        `"acme/${model}": {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": ${input}, "output_cost_per_token": ${output}}`,
    )
    .join(', ')}}`

t.test('prices import says what would change, applies it once, and holds back what is implausible', async (t) => {
  const { url } = await createTestDatabase(t)
  const folder = temporary(t)
  const env = { DATABASE_URL: url, DATA_DIR: folder }
  const file = join(folder, 'list.json')
  const run = (...args: string[]) => farebox(['prices', ...args], env)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  const versions = async () =>
    (
      await client.query(
        `select model, rates, source, created_by from price_versions where provider = 'acme' order by effective_from, model`,
      )
    ).rows

  writeFileSync(file, listOf({ small: ['1.25e-06', '0.00001'], large: ['5e-06', '2.5e-05'] }))
  const dry = await run('import', 'litellm', file)
  t.equal(dry.status, 0, dry.stderr)
  t.match(dry.stdout, /2 new versions/)
  t.match(dry.stdout, /acme\/small {2}input_tokens 1.25, output_tokens 10/)
  t.match(dry.stderr, /Nothing was changed/)
  t.same(await versions(), [])

  const applied = await run('import', 'litellm', file, '--apply', '--reason', 'first')
  t.equal(applied.status, 0, applied.stderr)
  t.match(applied.stderr, /Applied as imp_[0-9a-f]{32}/)
  t.match(await versions(), [
    { model: 'acme/large', rates: { input_tokens: '5', output_tokens: '25' }, source: 'litellm', created_by: /^cli:/ },
    { model: 'acme/small', rates: { input_tokens: '1.25', output_tokens: '10' } },
  ])
  const again = await run('import', 'litellm', file, '--apply')
  t.match(again.stdout, /0 new versions, 0 changed versions, 2 unchanged/)
  t.match(again.stderr, /Nothing to change/)
  t.equal((await versions()).length, 2)

  t.test('a price a million times as high, and a model that is gone', async (t) => {
    writeFileSync(file, listOf({ small: ['1.25', '0.00001'] }))
    const json = JSON.parse((await run('import', 'litellm', file, '--apply', '--json')).stdout)
    t.match(json, { inserted: 0, quarantined: 2, unchanged: 0 })
    t.match(json.quarantine, [
      { model: 'acme/large', reasons: ['vanished'] },
      { model: 'acme/small', reasons: [/10\^6 times/] },
    ])
    t.equal((await versions()).length, 2, 'the old prices stay')
    const held = (await run('quarantine')).stdout.trim().split('\n')
    t.equal(held.length, 2)
    const idOf = (model: string) => held.find((line) => line.includes(` ${model} `))?.split(' ')[0] ?? ''
    t.equal((await run('reject', idOf('acme/small'), '--reason', 'a slip')).status, 0)
    t.equal((await run('accept', idOf('acme/large'), '--reason', 'retired')).status, 0)
    const twice = await run('accept', idOf('acme/large'), '--reason', 'again')
    t.equal(twice.status, 1)
    t.match(twice.stderr, /accepted by cli:/)
    t.match((await versions()).at(-1), { model: 'acme/large', rates: { input_tokens: '5' } })
    const { rows } = await client.query(
      `select enabled from price_versions where model = 'acme/large' order by effective_from desc limit 1`,
    )
    t.same(rows, [{ enabled: false }])
    const third = JSON.parse((await run('import', 'litellm', file, '--apply', '--json')).stdout)
    t.match(third, { inserted: 0, quarantined: 0, rejected: 1 }, 'what was rejected is not proposed again')
  })

  t.test('from an address', async (t) => {
    const server = createServer((request, response) => {
      response.statusCode = request.url === '/list' ? 200 : 404
      response.end(listOf({ tiny: ['1e-07', '2e-07'] }))
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    t.teardown(() => server.close())
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    t.match((await run('import', 'litellm', `${base}/list`)).stdout, /acme\/tiny {2}input_tokens 0.1, output_tokens 0.2/)
    t.match(await run('import', 'litellm', `${base}/gone`), { status: 1, stderr: /answered 404/ })
  })

  t.test('what is no list', async (t) => {
    writeFileSync(file, '{"data": []}')
    t.match(await run('import', 'litellm', file, '--apply'), { status: 1, stderr: /not a LiteLLM price list/ })
    writeFileSync(file, '{"a": ')
    t.match(await run('import', 'openrouter', file, '--apply'), { status: 1, stderr: /not valid JSON/ })
    t.match(await run('import', 'litellm', join(folder, 'absent.json')), { status: 1, stderr: /cannot be read/ })
    t.match(await run('import', 'excel', file), { status: 2, stderr: /must be one of litellm/ })
    t.match(await run('accept', 'nonsense', '--reason', 'x'), { status: 2 })
  })
})
