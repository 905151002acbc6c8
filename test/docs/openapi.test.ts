import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ERROR_CODES } from '../../src/kernel/errors.ts'
import { describeApi } from '../../src/openapi.ts'
import { documentedRoutes } from '../helpers/document.ts'
import { createService } from '../helpers/service.ts'

/** What has to ask somebody else first, a payment provider or a promotion, on routes of their own. */
const MONEY_IN = ['purchase', 'redeem', 'refundPayment', 'subscribe', 'changeSubscription']

const FILE = join(import.meta.dirname, '../../openapi.yaml')

t.test('openapi.yaml is what the routes say', { skip: !existsSync(FILE) && 'there is no openapi.yaml yet' }, async (t) => {
  t.ok(readFileSync(FILE, 'utf8') === (await describeApi()), 'run "npm run openapi" and commit it')
})

t.test('the document describes what the service has', async (t) => {
  const service = await createService(t)
  const routes = documentedRoutes(service.app)
  const names = routes.map(({ operationId }) => operationId)
  t.equal(new Set(names).size, names.length, 'each operation has a name of its own')

  t.test('every route of the service is described', async (t) => {
    const described = new Set(routes.map(({ method, path }) => `${method} ${path}`))
    // printRoutes is the router's own list.
    const lines = service.app.printRoutes({ commonPrefix: false, includeHooks: false }).split('\n')
    let found = 0
    for (const [method, path] of routesOf(lines)) {
      // Pages for people are not part of the API.
      if (method === 'HEAD' || method === 'OPTIONS' || /^\/(?:$|(docs|demo|sandbox)\b)/.test(path)) continue
      // The socket is described in asyncapi.yaml.
      if (path === '/v1/realtime') continue
      found += 1
      t.ok(described.has(`${method} ${path}`), `${method} ${path}`)
    }
    t.equal(found, described.size, 'and every described route is there')
  })

  t.test('every route but the probes needs a credential and says how it fails', async (t) => {
    for (const { path, statuses, operationId } of routes) {
      if (!path.startsWith('/v1')) continue
      t.ok([401, 403, 503].every((status) => statuses.includes(status)) && statuses.some((status) => status < 300), operationId)
    }
  })

  t.test('every money-moving POST asks for an Idempotency-Key, and nothing else does', async (t) => {
    const { operations } = service.rooms
    t.same(
      routes
        .filter(({ keyed }) => keyed)
        .map(({ operationId }) => operationId)
        .sort(),
      [...[...operations.batchable, ...operations.others].map(({ name }) => name), ...MONEY_IN].sort(),
    )
  })

  t.test('the `type` of every problem leads to a page, for everybody', async (t) => {
    for (const code of Object.keys(ERROR_CODES)) {
      const page = await service.get(`/docs/errors/${code}`, { key: null })
      t.equal(page.status, 200)
      t.match(page.text, code)
    }
    for (const code of ['nonsense', 'constructor', '__proto__', 'x'.repeat(65), '%00', '<script>']) {
      const page = await service.get(`/docs/errors/${code}`, { key: null })
      t.ok([400, 404].includes(page.status), `${code} → ${page.status}`)
      t.match(page.headers['content-type'], /^application\/problem\+json/)
    }
  })

  t.test('every schema is one that a validator can read', async (t) => {
    let read = 0
    for (const route of routes) {
      for (const status of route.statuses) {
        t.doesNotThrow(() => route.answerOf(status), `${route.operationId} ${status}`)
        read += 1
      }
    }
    t.comment(`${routes.length} routes, ${read} answers`)
  })
})

/** The routes of the router's tree, in the form of the document. */
function routesOf(lines: readonly string[]): [method: string, path: string][] {
  const found: [string, string][] = []
  const stack: { depth: number; path: string }[] = []
  for (const line of lines) {
    const match = /^([│ ]*)(?:├── |└── )(\S+)(?: \(([A-Z, ]+)\))?/.exec(line)
    if (!match) continue
    const depth = (match[1] as string).length
    while (stack.length > 0 && (stack.at(-1) as { depth: number }).depth >= depth) stack.pop()
    const path = `${stack.at(-1)?.path ?? ''}${match[2]}`
    stack.push({ depth, path })
    for (const method of match[3]?.split(', ') ?? []) found.push([method, path.replace(/:(\w+)/g, '{$1}')])
  }
  return found
}
