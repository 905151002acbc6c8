import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import { SCOPES, type Scope } from '../../src/auth/principal.ts'
import { type DocumentedRoute, documentedRoutes, documentedSchemas, fillPath } from '../helpers/document.ts'
import { type Answer, createService } from '../helpers/service.ts'
import { PAYEE, validBodies } from './bodies.ts'
import { Malformer, POISON, WRONG_QUERIES, wrongIds } from './malformed.ts'
import { ABSENT, blind, digest, type Things, thingsOf, variantsOf } from './things.ts'

/**
 * Every documented route × every way of asking wrongly: who may not, whose it is not, and what is malformed, field by field. A new route
 * or field is attacked from its first day. Whatever is tried, the answer is the one that is expected and no row of any table changes.
 *
 * In a run of the suite each field gets some of the wrong values, in turns. All of them: `npm run prove -- matrix`.
 */

const { values } = parseArgs({ options: { all: { type: 'boolean' } }, strict: false })
const SHARE = values.all ? 1 : 5

/** What a key with this scope alone opens, and nothing else. */
const OPENED: Readonly<Record<Exclude<Scope, 'admin'>, readonly string[]>> = {
  'wallets:read': [
    'createTicket',
    'getBalance',
    'getCharge',
    'getReservation',
    'getUsage',
    'getWallet',
    'listGrants',
    'listReservations',
    'listTransactions',
    'listWallets',
    'recomputeCharge',
    'streamWallet',
  ],
  'wallets:write': ['configureWallet', 'openWallet'],
  'usage:write': ['batch', 'charge', 'check', 'commit', 'extend', 'issueToken', 'release', 'reportEvents', 'reserve'],
  'grants:write': ['grant'],
  'refunds:write': ['refund'],
  'prices:read': ['listModels', 'listOperations', 'quote'],
  'prices:write': [],
  'payments:read': [
    'getPayment',
    'getSubscription',
    'getTopUp',
    'listBonusRules',
    'listCards',
    'listPackages',
    'listPayments',
    'listPlans',
  ],
  'payments:write': [
    'cancelPayment',
    'cancelSubscription',
    'changeSubscription',
    'purchase',
    'redeem',
    'resumeSubscription',
    'saveCard',
    'setTopUp',
    'subscribe',
    'switchTopUp',
  ],
  // Its one route is no part of /v1: test/http/metrics.test.ts.
  'metrics:read': [],
}

/** What a person may do besides reading: a ticket for what it may read anyway, and buying for its own wallet, with its own card. */
const OPEN_TO_PEOPLE = [
  ...['createTicket', 'purchase', 'cancelPayment', 'redeem', 'saveCard', 'setTopUp', 'switchTopUp'],
  ...['subscribe', 'changeSubscription', 'cancelSubscription', 'resumeSubscription'],
]
const ADMIN_ONLY = /^(void|adjust|freezeWallet|unfreezeWallet|closeWallet)$/

/** What is below `/v1/admin` is for admins from its first day. */
function adminOnly({ operationId, path }: DocumentedRoute): boolean {
  return ADMIN_ONLY.test(operationId) || path.startsWith('/v1/admin/')
}

const LEAKS = /SQLSTATE|22021|PrismaClient|node_modules|at \w+ \(|\/src\/|postgres(ql)?:|stack/i

/** Codes that say what is wrong without a pointer. */
const NAMING = ['cursor_invalid', 'idempotency_key_missing', 'idempotency_key_invalid']

/** Looks at answers and counts them; what is not as expected is told of at the end, and not one by one. */
class Score {
  tried = 0
  readonly #wrong: string[] = []

  /** @param expected statuses @param pointer the place that the answer has to name, or one around it */
  see(answer: Answer, expected: readonly number[], what: string, pointer?: string): void {
    this.tried += 1
    const { status, body, headers, text } = answer
    const isProblem =
      headers['content-type']?.startsWith('application/problem+json') && body.status === status && typeof body.code === 'string'
    const pointers: string[] = (body?.errors ?? []).map((error: { pointer: string }) => error.pointer)
    const isNamed = pointer === undefined || status !== 400 || NAMING.includes(body?.code) || pointers.some((found) => isAt(found, pointer))
    // Any digits may stand in the id of a request.
    const isBrief = text.length < 6_000 && !LEAKS.test(text.replace(String(body?.instance), ''))
    if (expected.includes(status) && isProblem && isNamed && isBrief) return
    this.#wrong.push(`${what.slice(0, 200)} → ${status} ${pointers.slice(0, 5)} ${text.slice(0, 200)}`)
  }

  check(isRight: boolean, what: string): void {
    this.tried += 1
    if (!isRight) this.#wrong.push(what.slice(0, 400))
  }

  get wrong(): number {
    return this.#wrong.length
  }

  /** So many as could be read. */
  report(t: Test, name: string): void {
    for (const line of this.#wrong.slice(0, 20)) t.comment(line)
    t.equal(this.#wrong.length, 0, `${name}: ${this.tried} tried, ${this.tried - this.#wrong.length} as expected`)
  }
}

/** Whether an error is at a place, in it, or at what it is a part of. The body as a whole is no place. */
function isAt(found: string, place: string): boolean {
  return found !== '' && (`${found}/`.startsWith(`${place}/`) || `${place}/`.startsWith(`${found}/`))
}

t.setTimeout(300_000)

t.test('the matrix of attacks', async (t) => {
  const service = await createService(t)
  const admin = { key: service.adminKey }
  const theirs = await thingsOf(service, service.other, 'user:victim')
  const mine = await thingsOf(service, service.client, 'user:mine', 'MINE')
  await service.wallet(undefined, { owner: PAYEE })
  const routes = documentedRoutes(service.app).filter(({ path }) => path.startsWith('/v1/'))
  const bodies = validBodies(mine)
  const malformer = new Malformer(documentedSchemas(service.app))
  const scopes = SCOPES.filter((scope): scope is Exclude<Scope, 'admin'> => scope !== 'admin')
  const scores: Score[] = []

  const pathOf = ({ path }: DocumentedRoute, things = mine) => fillPath(path, things as unknown as Record<string, string>)
  const bodyOf = (route: DocumentedRoute) => (route.hasBody ? (bodies[route.operationId] as object) : undefined)
  const withBody = routes.filter(({ hasBody }) => hasBody)

  /** A subtest with a score of its own, after which every table is as it was. @param except tables that it may write to */
  function attack(name: string, run: (score: Score, t: Test) => Promise<void>, except: readonly string[] = []): void {
    t.test(name, async (t) => {
      const score = new Score()
      scores.push(score)
      const before = await digest(service)
      await run(score, t)
      const after = await digest(service)
      score.report(t, name)
      t.same(
        Object.keys(before).filter((table) => !except.includes(table) && after[table] !== before[table]),
        [],
        'no row of any table is another',
      )
    })
  }

  t.test('every route that takes a body has one that it would take', async (t) => {
    for (const route of withBody) t.ok(malformer.takes(route, bodies[route.operationId]), route.operationId)
    const operations = new Set(withBody.map(({ operationId }) => operationId))
    t.same(
      Object.keys(bodies).filter((name) => !operations.has(name)),
      [],
      'and none is left over',
    )
  })

  t.test('every scope opens its own routes', async (t) => {
    for (const scope of scopes) {
      const key = await service.newKey([scope])
      for (const route of routes.filter(({ operationId }) => OPENED[scope].includes(operationId))) {
        const answer = await service.send(route.method, pathOf(route, ABSENT), route.hasBody ? { '': 0 } : undefined, { key })
        t.not(answer.status, 403, `${scope} opens ${route.operationId}`)
      }
    }
    const opened = new Set(Object.values(OPENED).flat())
    const wrong = routes.filter((route) => opened.has(route.operationId) === adminOnly(route))
    t.same(
      wrong.map(({ operationId }) => operationId),
      [],
      'each is opened by a scope or for admins only',
    )
  })

  const revoked = await service.made(`/v1/admin/clients/${service.client.wireId}/keys`, { name: 'k', scopes: ['admin'] }, admin)
  await service.made(`/v1/admin/keys/${revoked.id}/revoke`, {}, admin)
  attack('no credential, or one that is none or was revoked', async (score) => {
    const none = [null, 'x', "' OR '1'='1", `${service.client.key}x`, 'eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.', revoked.key]
    for (const route of routes) {
      for (const key of none) {
        const answer = await service.send(route.method, pathOf(route), bodyOf(route), { key })
        score.see(answer, [401], `${route.operationId} with ${key}`)
      }
    }
  })

  const only = Object.fromEntries(await Promise.all(scopes.map(async (scope) => [scope, await service.newKey([scope])] as const)))
  const allBut = Object.fromEntries(
    await Promise.all(scopes.map(async (scope) => [scope, await service.newKey(scopes.filter((other) => other !== scope))] as const)),
  )
  attack('keys without the scope', async (score) => {
    for (const scope of scopes) {
      for (const route of routes) {
        const isOpen = OPENED[scope].includes(route.operationId)
        const answer = await service.send(route.method, pathOf(route), bodyOf(route), { key: (isOpen ? allBut : only)[scope] as string })
        score.see(answer, [403], `${route.operationId} with ${isOpen ? 'all scopes but' : 'only'} ${scope}`)
      }
    }
  })

  const person = await service.tokenFor('mine')
  attack('people where a key is needed', async (score) => {
    for (const route of routes) {
      if (!adminOnly(route) && (route.method === 'GET' || OPEN_TO_PEOPLE.includes(route.operationId))) continue
      const answer = await service.send(route.method, pathOf(route), bodyOf(route), { key: person })
      score.see(answer, [403], `a person: ${route.operationId}`)
    }
  })

  // A refusal that names no effect is remembered under the caller's own key.
  const REMEMBERED = ['idempotency_keys']
  attack(
    'what another client has is not there, in the same words as what never was',
    async (score) => {
      for (const route of routes.filter((route) => !adminOnly(route))) {
        const absent = variantsOf(route, ABSENT, mine.wallet)
        for (const [i, { path, body }] of variantsOf(route, theirs, mine.wallet).entries()) {
          const send = (at: { path: string; body?: object | undefined }, idempotencyKey: string) =>
            service.send(route.method, at.path, at.body, { idempotencyKey })
          const answer = await send({ path, body }, `attack-${route.operationId}-${i}`)
          const control = await send(absent[i] as { path: string; body?: object }, `control-${route.operationId}-${i}`)
          const what = `${route.method} ${path} ${JSON.stringify(body ?? null).slice(0, 80)}`
          if (answer.body.results) {
            const results = answer.body.results as Answer[]
            score.check(
              results.every(({ status }) => status === 404),
              `${what}: each of many`,
            )
          } else score.see(answer, [404], what)
          score.check(
            blind(answer, theirs) === blind(control, ABSENT) && !answer.text.includes('secret-of-theirs'),
            `${what}: ${answer.text}`,
          )
        }
      }
    },
    REMEMBERED,
  )

  attack('each field of each body, wrong in turn', async (score) => {
    for (const route of withBody) {
      for (const { body, pointer, what } of malformer.bodies(route, bodyOf(route) as object, SHARE)) {
        const answer = await service.send(route.method, pathOf(route), body, admin)
        // A text that is too long may be more than the whole body may be.
        score.see(answer, what === '64 KB' ? [400, 413] : [400], `${route.operationId} ${pointer}: ${what}`, pointer)
      }
    }
  })

  attack('bodies that no route takes', async (score, t) => {
    for (const route of withBody) {
      for (const body of POISON) {
        const answer = await service.send(route.method, pathOf(route), body, admin)
        score.see(answer, [400], `${route.operationId} ${body.slice(0, 50)}`)
        score.check(answer.body.errors?.length > 0, `${route.operationId} ${body.slice(0, 50)}: says where`)
      }
    }
    t.notOk(({} as { isAdmin?: boolean }).isAdmin, 'no prototype was touched')
  })

  attack('paths', async (score) => {
    for (const route of routes) {
      for (const name of route.params) {
        for (const id of wrongIds(mine[name as keyof Things])) {
          const path = fillPath(route.path, { ...(mine as unknown as Record<string, string>), [name]: id })
          const answer = await service.send(route.method, path, bodyOf(route), admin)
          score.see(answer, [400, 404, 414], `${route.operationId} ${path}`)
        }
      }
    }
  })

  attack('queries', async (score) => {
    for (const route of routes.filter(({ query }) => query.length > 0)) {
      for (const { name, schema } of route.query) {
        for (const raw of WRONG_QUERIES) {
          if (malformer.takesText(schema, decodeURIComponent(raw)) && name !== 'cursor') continue
          const answer = await service.get(`${pathOf(route)}?${name}=${raw}`, admin)
          // No request may hold the character, wherever it is.
          score.see(answer, [400], `${route.operationId} ?${name}=${raw}`, raw === '%00' ? '/path' : `/query/${name}`)
        }
        for (const twice of [`${name}=1&${name}=2`, `${name}[]=1`, `${name}[x]=1`]) {
          score.see(await service.get(`${pathOf(route)}?${twice}`, admin), [400], `${route.operationId} ?${twice}`)
        }
      }
    }
    for (const route of routes) {
      for (const unknown of ['sort=balance', 'offset=1', '__proto__=1', 'constructor=1', 'order=desc;drop%20table%20wallets']) {
        const answer = await service.send(route.method, `${pathOf(route)}?${unknown}`, bodyOf(route), admin)
        score.see(answer, [400], `${route.operationId} ?${unknown}`)
      }
    }
  })

  attack('content types', async (score) => {
    const types = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json, text/plain']
    for (const route of withBody) {
      for (const type of [...types, 'application/json; charset=utf-16', 'application/jsonp']) {
        const answer = await service.send(route.method, pathOf(route), bodyOf(route), { ...admin, headers: { 'content-type': type } })
        score.see(answer, [415], `${route.operationId} as ${type}`)
      }
    }
  })

  attack('idempotency keys', async (score) => {
    for (const route of routes.filter(({ keyed }) => keyed)) {
      for (const idempotencyKey of [null, '', 'x'.repeat(256), 'schlüssel', 'a\u007fb']) {
        const answer = await service.send(route.method, pathOf(route), bodyOf(route), { ...admin, idempotencyKey })
        score.see(answer, [400], `${route.operationId} with the key ${idempotencyKey?.slice(0, 20)}`, '/headers/idempotency-key')
      }
    }
  })

  t.test('without what is wrong, each would have got through', async (t) => {
    // Last the key that is asked with here.
    const revoking = ({ operationId }: DocumentedRoute) => Number(operationId === 'revokeApiKey')
    for (const route of withBody.toSorted((a, b) => revoking(a) - revoking(b))) {
      const answer = await service.send(route.method, pathOf(route), bodyOf(route), admin)
      t.notOk([400, 401, 403, 415, 500].includes(answer.status), `${route.operationId}: ${answer.status}`, { text: answer.text })
    }
  })

  t.test('the book is sound', async (t) => {
    t.same(await service.unsound(), [])
    const tried = scores.reduce((sum, score) => sum + score.tried, 0)
    const wrong = scores.reduce((sum, score) => sum + score.wrong, 0)
    t.ok(tried > 10_000, 'there was much to attack')
    t.comment(`matrix: attacks: ${tried} tried, ${tried - wrong} as expected, on ${routes.length} routes; rows changed 0`)
  })
})
