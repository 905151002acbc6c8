import t from 'tap'
import { DEMO_FILES } from '../../src/demo/files.ts'
import { createBilling } from '../helpers/billing.ts'
import { createService } from '../helpers/service.ts'

/** The demo's own server side, without a browser. */

const WALLET_SQL = 'select id, version, balance, held from wallets where owner_id = $1'

t.test('the demo', async (t) => {
  const service = await createService(t)
  const post = (path: string, headers: Record<string, string> = {}) =>
    service.post(path, null, { key: null, idempotencyKey: null, headers })
  const get = (path: string) => service.get(path, { key: null })
  const wallets = () => service.query(WALLET_SQL, ['demo'])

  t.test('serves a page that may load nothing but its own files', async (t) => {
    for (const { path, type } of DEMO_FILES) {
      const file = await get(path)
      t.equal(file.status, 200, path)
      t.equal(file.headers['content-type'], type)
      t.equal(file.headers['x-content-type-options'], 'nosniff')
      t.match(file.headers['content-security-policy'], /^default-src 'none'; script-src 'self';/)
      t.notMatch(file.headers['content-security-policy'], /unsafe|\*|https?:/)
    }
    const page = (await get('/demo')).text
    t.notMatch(page, /<script>|<style|style=|\son\w+=/, 'and has nothing inline')
    const linked = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path as string).filter((path) => path !== '/docs')
    for (const path of linked)
      t.ok(
        DEMO_FILES.some((file) => file.path === path),
        path,
      )
  })

  t.test('serves everything that its script imports, with the types taken out', async (t) => {
    const seen = new Set<string>()
    const pending = ['/demo/page.js']
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      if (seen.has(path)) continue
      seen.add(path)
      const { status, text } = await get(path)
      t.equal(status, 200, path)
      t.notMatch(text, /^\s*(?:export )?(?:interface|type) /m)
      for (const [, specifier] of text.matchAll(/^(?:import|export)\b[^'"`;]*?\bfrom\s*'([^']+)'/gm)) {
        pending.push(new URL(specifier as string, `http://demo${path}`).pathname)
      }
    }
    const listed = DEMO_FILES.filter(({ type }) => type.startsWith('text/javascript')).map(({ path }) => path)
    t.same([...seen].sort(), listed.sort(), 'and no other script')
  })

  t.test('serves no other file, however it is asked for', async (t) => {
    const asked = ['react.ts', '../page.html', '..%2fpage.html', '%2e%2e/routes.ts', '..\\routes.ts', 'index.ts%00.js', 'constructor', '']
    for (const name of [...asked, '../../../package.json', '%2e%2e%2f%2e%2e%2f%2e%2e%2fpackage.json']) {
      const { status, text } = await get(`/demo/client/${name}`)
      t.ok(status === 400 || status === 404, `${name} → ${status}`)
      t.notMatch(text, /import|farebox"/)
    }
    t.equal((await get('/demo/routes.ts')).status, 404)
  })

  t.test('is where somebody arrives who opens the service itself', async (t) => {
    t.match(await get('/'), { status: 302, headers: { location: '/demo' } })
  })

  t.test('moves nothing before the page asks for a token', async (t) => {
    t.match(await post('/demo/buy/basic'), { status: 404, body: { code: 'wallet_not_found' } })
    for (const action of ['reserve', 'commit', 'release', 'grant']) {
      const { status, body } = await post(`/demo/${action}`)
      t.match(`${status} ${body.code}`, /^404 (wallet|reservation)_not_found$/, action)
    }
    t.same(await wallets(), [])
  })

  t.test('opens one wallet with one bonus, and its token reads that wallet only', async (t) => {
    const answers = await Promise.all([post('/demo/token'), post('/demo/token'), post('/demo/token')])
    for (const { status, body } of answers)
      t.match({ status, body }, { status: 201, body: { token_type: 'Bearer', expires_in_seconds: Number } })
    const [wallet, ...others] = await wallets()
    t.match(wallet, { balance: '100000000', held: '0' })
    t.same(others, [])
    await service.wallet('1', { owner: 'user:somebody' })
    const key = answers[0]?.body.token
    const { body } = await service.get('/v1/wallets', { key })
    t.same(
      body.data.map(({ owner }: { owner: string }) => owner),
      ['user:demo'],
    )
    t.equal((await service.post('/v1/reservations', { wallet: 'user:demo', amount: '1' }, { key })).status, 403)
  })

  t.test('reserves, commits, releases and grants', async (t) => {
    const reserved = await post('/demo/reserve')
    t.match(reserved, { status: 201, body: { status: 'held', amount: '10', wallet: { available: '90', held: '10' } } })
    const committed = await post('/demo/commit')
    t.match(committed, { status: 200, body: { reservation_id: reserved.body.id, reservation_status: 'committed', wallet: { held: '0' } } })
    t.ok(Number(committed.body.charged) >= 1 && Number(committed.body.charged) <= 10, committed.body.charged)
    t.match(await post('/demo/commit'), { status: 404, body: { code: 'reservation_not_found' } })
    await post('/demo/reserve')
    t.match(await post('/demo/release'), { status: 200, body: { status: 'released', released: '10', wallet: { held: '0' } } })
    t.match(await post('/demo/grant'), { status: 201, body: { kind: 'bonus', amount: '50' } })
    t.same(await service.unsound(), [])
  })

  t.test('sells what is on sale, for its own wallet', async (t) => {
    const { status, body } = await get('/demo/packages')
    t.match({ status, body }, { status: 200, body: { provider: 'sandbox', livemode: false } })
    t.match(body.data[1], { id: 'basic', name: 'Basic', price: '45.00', currency: 'USD', credits: '5000', bonus: '500' })
    const [wallet] = await wallets()
    const bought = await post('/demo/buy/basic', { host: 'localhost:8080' })
    t.equal(bought.status, 201)
    t.match(bought.body, { checkout: { url: /^http:\/\/localhost:8080\/sandbox\/checkout\/sandbox_pay_/ } })
    const key = (await post('/demo/token')).body.token
    const orders = await service.get('/v1/wallets/user:demo/payments', { key })
    t.match(orders.body.data, [{ status: 'pending', amount: '45.00', credits: '5000' }])
    const resumed = await service.get(`/demo/pay/${bought.body.id}`, { key: null, headers: { host: 'localhost:8080' } })
    t.match(resumed, { status: 303, headers: { location: bought.body.checkout.url } })
    const paid = await post(`${new URL(bought.body.checkout.url).pathname}/pay`)
    t.match(paid, { status: 303, headers: { location: 'http://localhost:8080/demo?paid' } })
    t.equal(BigInt((await wallets())[0].balance) - BigInt(wallet.balance), 5_500_000_000n)
    t.match(await get(`/demo/pay/${bought.body.id}`), { status: 303, headers: { location: '/demo' } }, 'which is paid once')
    const foreign = await service.made('/v1/purchases', { wallet: await service.wallet(), package: 'basic' })
    for (const id of [foreign.id, bought.body.id.replace(/.$/, (end: string) => (end === '0' ? '1' : '0'))]) {
      t.match(await get(`/demo/pay/${id}`), { status: 404, body: { code: 'payment_not_found' } })
    }
    t.match(await get('/demo/pay/..'), { status: 404 })
    t.match(await get('/demo/pay/pay_1'), { status: 400, body: { code: 'invalid_request' } })
    const off = { package: 'starter', name: 'Starter', price: '10.00', currency: 'USD', credits: '1000', enabled: false, reason: 'a test' }
    await service.made('/v1/admin/packages', off, { key: service.adminKey })
    t.same(
      (await get('/demo/packages')).body.data.map(({ id }: { id: string }) => id),
      ['basic', 'pro', 'business', 'enterprise'],
    )
    t.match(await post('/demo/buy/starter'), { status: 422, body: { code: 'package_not_sold' } })
    t.match(await post('/demo/buy/nothing'), { status: 422, body: { code: 'package_not_sold' } })
    t.match(await post('/demo/buy/No..pe'), { status: 400, body: { code: 'invalid_request' } })
    t.same(await service.unsound(), [])
  })

  t.test('says so where nobody takes payments', async (t) => {
    const other = await service.another({ rooms: { payments: null } })
    t.match((await other.get('/demo/packages', { key: null })).body, { provider: null, livemode: false })
    t.match(await other.post('/demo/buy/basic', null, { key: null }), { status: 503, body: { code: 'payments_not_configured' } })
  })

  t.test('does nothing for pages of others', async (t) => {
    const [before] = await wallets()
    for (const origin of ['https://evil.example', 'http://localhost', 'null', 'nonsense']) {
      for (const path of ['/demo/token', '/demo/reserve', '/demo/grant', '/demo/buy/basic']) {
        const { status, body } = await post(path, { origin, host: 'localhost:8080' })
        t.equal(`${status} ${body.code}`, '403 forbidden', `${path} from ${origin}`)
      }
    }
    t.same((await wallets())[0], before)
    t.equal((await post('/demo/token', { origin: 'http://localhost:8080', host: 'localhost:8080' })).status, 201)
  })

  t.test('says why there is no token where another issues them', async (t) => {
    const other = await service.another({ env: { JWT_SECRET: '', JWKS_URL: 'http://127.0.0.1:9/jwks.json' } })
    const { status, body } = await other.post('/demo/token', null, { key: null })
    t.equal(`${status} ${body.code}`, '409 tokens_not_issued')
  })

  t.test('is not there in production', async (t) => {
    const production = await service.another({ env: { NODE_ENV: 'production', DATABASE_URL: service.url } })
    for (const { path } of DEMO_FILES) t.equal((await production.get(path, { key: null })).status, 404, path)
    for (const path of ['/', '/demo/packages', '/demo/pay/pay_1']) t.equal((await production.get(path, { key: null })).status, 404, path)
    for (const path of ['/demo/token', '/demo/reserve', '/demo/grant', '/demo/buy/basic']) {
      t.equal((await production.post(path, null, { key: null })).status, 404, path)
    }
  })
})

t.test('where the sources are not there, the demo is not either', async (t) => {
  const [page] = DEMO_FILES
  t.intercept(page as { read: unknown }, 'read', { value: async () => null })
  const service = await createService(t)
  t.match(await service.get('/demo', { key: null }), { status: 404, body: { code: 'route_not_found' } })
})

t.test('where there is a Stripe key, the demo sells by way of Stripe', async (t) => {
  const { service } = await createBilling(t)
  const post = (path: string) => service.post(path, null, { key: null, idempotencyKey: null, headers: { host: 'localhost:8080' } })
  t.match((await service.get('/demo/packages', { key: null })).body, { provider: 'stripe', livemode: false })
  await post('/demo/token')
  const { status, body } = await post('/demo/buy/basic')
  t.equal(status, 201)
  const { hostname, pathname } = new URL(body.checkout.url)
  t.not(hostname, 'localhost')
  t.notMatch(pathname, 'sandbox')
  const resumed = await service.get(`/demo/pay/${body.id}`, { key: null, headers: { host: 'localhost:8080' } })
  t.match(resumed, { status: 303, headers: { location: body.checkout.url } })
  t.equal((await service.get('/sandbox/done', { key: null })).status, 404, 'and there is no sandbox')
})
