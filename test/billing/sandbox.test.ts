import { request } from 'node:http'
import t from 'tap'
import { act, actionsOf, SANDBOX_ACTIONS, type SandboxPayment } from '../../src/billing/sandbox/payment.ts'
import { untold } from '../helpers/sandbox.ts'
import { type Body, createService, times } from '../helpers/service.ts'

/** The sandbox as a browser meets it: over real HTTP, with forms and redirects. */

const FORM = 'application/x-www-form-urlencoded'
const OPEN: SandboxPayment = {
  ...{ id: 'sandbox_pay_1', paymentId: '1', walletId: '1', title: 'Basic credits', currency: 'USD', amount: '4500' },
  ...{ status: 'open', failure: null, refunded: '0', refunds: {}, withdrawn: '0', dispute: null, paidAt: null },
  ...{ successUrl: 'https://app.example.com/', cancelUrl: 'https://app.example.com/' },
}

t.test('the sandbox', async (t) => {
  const service = await createService(t, { env: { CHECKOUT_RETURN_ORIGINS: 'https://app.example.com' } })
  const http = await service.listen()

  /** An order of the Basic package: its page, and what the service says of it. */
  async function order(wallet: string, what: object = {}) {
    const payment: Body = await http.made('/v1/purchases', { wallet, package: 'basic', ...what })
    const path = new URL(payment.checkout.url).pathname
    const click = (action: string, headers: Record<string, string> = {}) => send(http.port, 'POST', `${path}/${action}`, headers)
    return {
      id: payment.id as string,
      url: payment.checkout.url as string,
      path,
      click,
      page: () => http.get(path, { key: null }),
      state: async () => (await http.get(`/v1/payments/${payment.id}`)).body,
    }
  }
  const figures = async (wallet: string) => {
    const { balance, debt } = (await http.get(`/v1/wallets/${wallet}/balance`)).body
    return { balance, debt }
  }

  t.test('is named with an address that a browser can open', async (t) => {
    const { url, id } = await order(await service.wallet('1'))
    t.equal(url, `${http.base}/sandbox/checkout/sandbox_${id}`)
  })

  t.test('pays: the credits come, and the customer goes back to the product', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state, page } = await order(wallet, { success_url: 'https://app.example.com/credits?from=farebox' })
    t.match(await page(), { status: 200, text: /Not paid yet[\s\S]*45\.00 USD[\s\S]*\/pay"[\s\S]*\/decline"/ })
    t.match(await click('pay'), { status: 303, headers: { location: 'https://app.example.com/credits?from=farebox' } })
    t.match(await state(), { status: 'paid', provider: 'sandbox', livemode: false, credits: '5000', bonus: '500' })
    t.same(await figures(wallet), { balance: '5501', debt: '0' })
    t.match((await page()).text, /data-state="good">Paid</)
    t.same(primariesOf((await page()).text), ['Back to the product'], 'giving the money back is nothing that suggests itself')
  })

  t.test('says what is bought, as people read it', async (t) => {
    const wallet = await service.wallet('1')
    const titleOf = async (what: object) =>
      /<h1>(.*)<\/h1>\s*<p class="price">(.*)<\/p>/.exec((await (await order(wallet, what)).page()).text)
    t.match(await titleOf({}), { 1: /^Basic · 5,000 \+ 500 credits$/, 2: /^45\.00 USD$/ })
    t.match(await titleOf({ package: 'starter' }), { 1: /^Starter · 1,000 credits$/ })
    t.match(await titleOf({ package: undefined, amount: '1234.50', currency: 'USD' }), { 1: /^123,450 credits$/, 2: /^1,234\.50 USD$/ })
    t.same(primariesOf((await (await order(wallet)).page()).text), ['Pay 45.00 USD'])
  })

  t.test('declines a card, says so, and takes the next one', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state, page, path } = await order(wallet)
    t.match(await click('decline'), { status: 303, headers: { location: path } })
    t.match((await page()).text, /role="alert">The card was declined\./)
    t.match(await state(), { status: 'pending', failure: 'The card was declined.' })
    t.same(await figures(wallet), { balance: '1', debt: '0' })
    await click('decline')
    t.match(await click('pay'), { status: 303, headers: { location: `${http.base}/sandbox/done` } })
    t.match(await state(), { status: 'paid', failure: null })
    t.same(await figures(wallet), { balance: '5501', debt: '0' })
    t.notMatch((await page()).text, /role="alert"/)
  })

  t.test('refunds: what was spent of it becomes debt', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state, page, path } = await order(wallet)
    await click('pay')
    await http.made('/v1/charges', { wallet, amount: '501' })
    t.match(await click('refund'), { status: 303, headers: { location: path } })
    t.match(await state(), { status: 'refunded', amount_refunded: '45.00', credits_reversed: '5500' })
    t.same(await figures(wallet), { balance: '-500', debt: '500' })
    t.match((await page()).text, /Refunded<[\s\S]*Given back<\/dt><dd>45\.00 USD/)
    t.notMatch((await page()).text, /<form/, 'and there is nothing left to do')
  })

  t.test('disputes: the credits are taken back, and come back when the product wins', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state, page } = await order(wallet)
    await click('pay')
    await click('dispute')
    t.match(await state(), { status: 'disputed', amount_withdrawn: '45.00', credits_reversed: '5500' })
    t.same(await figures(wallet), { balance: '1', debt: '0' })
    const { text } = await page()
    t.match(text, /Disputed<[\s\S]*Product wins[\s\S]*Customer wins[\s\S]*The customer gets the money/)
    t.match(text, /Held by the bank<\/dt><dd>45\.00 USD/)
    t.same(primariesOf(text), ['Back to the product'], 'neither side is the one to choose')
    await click('win')
    t.match(await state(), { status: 'paid', amount_withdrawn: '0.00', credits_reversed: '0' })
    t.same(await figures(wallet), { balance: '5501', debt: '0' })
    t.match((await page()).text, /Paid, dispute won/)
    await click('dispute')
    t.match(await state(), { status: 'paid' }, 'a bank hears one dispute of it')
    await click('refund')
    t.same(await figures(wallet), { balance: '1', debt: '0' })
  })

  t.test('an order that is given up, or that nobody pays within a day, can be paid no more', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state, page, id } = await order(wallet)
    t.match(await http.post(`/v1/payments/${id}/cancel`), { status: 200, body: { status: 'failed', failure: 'it was cancelled' } })
    t.match((await page()).text, /Given up[\s\S]*Back to the product/)
    t.equal((await click('pay')).status, 303)
    t.match(await state(), { status: 'failed' })
    const old = await order(wallet)
    await service.query(`update payments set created_at = now() - interval '26 hours' where id = $1`, [old.id.slice(4)])
    await service.rooms.billing.cancelUnpaid()
    t.match(await old.state(), { status: 'failed' })
    await old.click('pay')
    t.same(await figures(wallet), { balance: '1', debt: '0' })
  })

  t.test('disputes: they stay away when the customer wins', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state, page } = await order(wallet)
    await click('pay')
    await click('dispute')
    await click('lose')
    t.match(await state(), { status: 'disputed', amount_withdrawn: '45.00', credits_reversed: '5500' })
    for (const action of SANDBOX_ACTIONS) await click(action)
    t.same(await figures(wallet), { balance: '1', debt: '0' })
    t.match((await page()).text, /Dispute lost[\s\S]*Given back by the bank<\/dt><dd>45\.00 USD/)
  })

  t.test('a part that was given back by the product is the product’s no more, whoever wins', async (t) => {
    const wallet = await service.wallet('1')
    const { click, id, state, page } = await order(wallet)
    await click('pay')
    const refund = { amount: '15.00', reason: 'a test' }
    const again = { key: service.adminKey, idempotencyKey: `refund-${id}` }
    const first = await http.post(`/v1/admin/payments/${id}/refund`, refund, again)
    t.match(first, { status: 200, body: { amount: '15.00', payment: { status: 'partially_refunded' } } })
    const second = await http.post(`/v1/admin/payments/${id}/refund`, refund, again)
    t.equal(second.body.provider_refund_id, first.body.provider_refund_id, 'asked again, it is the same refund')
    t.match((await page()).text, /Paid, partly refunded[\s\S]*Given back<\/dt><dd>15\.00 USD/)
    await click('dispute')
    t.match(await state(), { amount_refunded: '15.00', amount_withdrawn: '30.00', credits_reversed: '5500' })
    const refused = await http.post(`/v1/admin/payments/${id}/refund`, { reason: 'a test' }, { key: service.adminKey })
    t.match(refused, { status: 422, body: { code: 'payment_refused' } })
    await click('win')
    t.match(await figures(wallet), { balance: '3667.666667' })
    t.match((await state()).status, 'partially_refunded')
  })

  t.test('refunds that are asked for at once are all in its books', async (t) => {
    const { click, id } = await order(await service.wallet('1'))
    await click('pay')
    const { gateway, sandbox } = service.rooms.billing
    const objectId = `sandbox_${id}`
    const refunds = times(20, (n) => gateway?.refund({ refundId: `refund-${n}`, objectId, amount: 100n, paymentId: id, isRepeated: false }))
    const ids = (await Promise.all(refunds)).map((refund) => refund?.id)
    t.equal(new Set(ids).size, 20)
    t.match(await sandbox.find(objectId), { refunded: '2000' })
  })

  t.test('clicks that come twice, late or at once do nothing more', async (t) => {
    const wallet = await service.wallet('1')
    const { click, state } = await order(wallet)
    for (const action of ['refund', 'dispute', 'win', 'lose']) t.equal((await click(action)).status, 303, `${action} before it is paid`)
    t.match(await state(), { status: 'pending' })
    const paid = await Promise.all(times(10, (index) => click(index % 3 === 0 ? 'decline' : 'pay')))
    for (const { status } of paid) t.equal(status, 303)
    t.same(await figures(wallet), { balance: '5501', debt: '0' })
    await Promise.all(times(10, (index) => click(index % 2 === 0 ? 'refund' : 'dispute')))
    t.same(await figures(wallet), { balance: '1', debt: '0' })
  })

  t.test('a click whose effect was lost on the way is made good by the next', async (t) => {
    const wallet = await service.wallet('1')
    const lost = await order(wallet)
    await untold(service, lost, 'pay')
    t.same(await figures(wallet), { balance: '1', debt: '0' })
    t.equal((await lost.click('pay')).status, 303)
    t.same(await figures(wallet), { balance: '5501', debt: '0' })
  })

  t.test('an order that Farebox does not take over says so', async (t) => {
    const wallet = (await http.made('/v1/wallets', { owner: 'user:gone' })).id
    const { click, page } = await order(wallet)
    await http.made(`/v1/wallets/${wallet}/close`, { reason: 'a test' }, { key: service.adminKey })
    t.match(await click('pay'), { status: 200, text: /role="alert">Farebox did not take this over: The wallet was closed/ })
    t.match((await page()).text, /Paid</)
  })

  t.test('purchases that are repeated lead to the same page while it can be paid', async (t) => {
    const wallet = await service.wallet('1')
    const send = () => http.post('/v1/purchases', { wallet, package: 'basic' }, { idempotencyKey: 'once' })
    const [first, second] = [await send(), await send()]
    t.equal(second.body.checkout.url, first.body.checkout.url)
    t.equal(second.headers['idempotent-replayed'], 'true')
    await sendForm(`${first.body.checkout.url}/pay`)
    t.match(await send(), { status: 201, body: { status: 'paid', checkout: null } })
    t.same(await figures(wallet), { balance: '5501', debt: '0' })
  })

  t.test('saves the card that its owner chose, and lists no other', async (t) => {
    const wallet = await service.wallet('1')
    const listed = async () => (await http.get(`/v1/wallets/${wallet}/cards`)).body.data.map((card: Body) => card.payment_method_id)
    const open = async (body: object = {}) => new URL((await http.made(`/v1/wallets/${wallet}/cards`, body)).url)
    await (await order(wallet)).click('pay')
    t.same(await listed(), [], 'an order saves no card')

    const urls = { success_url: 'https://app.example.com/saved', cancel_url: 'https://app.example.com/left' }
    const { origin, pathname } = await open(urls)
    t.equal(origin, http.base)
    const asked = await http.get(pathname, { key: null })
    t.match(asked.text, /Save a card[\s\S]*Save the card sandbox 4242[\s\S]*Save the card sandbox 0002[\s\S]*declined/)
    t.match(asked.text, 'href="https://app.example.com/left">Leave without saving a card')
    t.match(asked.headers['content-security-policy'], "form-action 'self' https://app.example.com;")
    t.notMatch(asked.text, /<script|<style|style=|\son\w+=/)
    t.same(await listed(), [], 'neither does looking at the page')

    t.match(await send(http.port, 'POST', `${pathname}/declined`, { origin: 'https://evil.example' }), { status: 403 })
    t.match(await send(http.port, 'POST', `${pathname}/stolen`), { status: 404, text: /"code":"route_not_found"/ })
    t.same(await listed(), [])
    const saved = { status: 303, headers: { location: 'https://app.example.com/saved' } }
    t.match(await send(http.port, 'POST', `${pathname}/declined`), saved)
    t.match(await send(http.port, 'POST', `${pathname}/good`), saved, 'a page saves one card')
    t.same(await listed(), ['sandbox_card_declined'])
    t.match((await http.get(pathname, { key: null })).text, /sandbox 0002 is saved[\s\S]*Back to the product/)

    await sendForm(`${await open()}/good`)
    t.same(await listed(), ['sandbox_card', 'sandbox_card_declined'], 'newest first')
    await sendForm(`${await open()}/declined`)
    t.same(await listed(), ['sandbox_card_declined', 'sandbox_card'], 'each once')
    t.same((await http.get(`/v1/wallets/${await service.wallet('1')}/cards`)).body.data, [], 'of this wallet alone')

    t.match(await http.get(`${pathname}0`, { key: null }), { status: 404, text: /Nothing is here/ })
    t.match(await send(http.port, 'POST', `${pathname}0/good`), { status: 404, text: /"code":"payment_not_found"/ })
  })

  t.test('a purchase that was refused before it was an order left nothing with its key', async (t) => {
    const buy = (what: object) => http.post('/v1/purchases', { wallet: 'user:late', package: 'basic', ...what }, { idempotencyKey: 'late' })
    t.match(await buy({}), { status: 404, body: { code: 'wallet_not_found' } })
    await service.wallet('1', { owner: 'user:late' })
    t.match(await buy({ success_url: 'https://evil.example/' }), { status: 422, body: { code: 'return_url_not_allowed' } })
    t.match(await buy({}), { status: 201, body: { status: 'pending' } })
    t.match(await buy({ package: 'pro' }), { status: 422, body: { code: 'idempotency_key_reused' } }, 'which the order did')
  })

  t.test('sells for another currency once it has a rate for purchases', async (t) => {
    const what = { wallet: await service.wallet('1'), amount: '25.00', currency: 'EUR' }
    t.match(await http.post('/v1/purchases', what), { status: 422, body: { code: 'rate_missing' } })
    const rate = { currency: 'EUR', purpose: 'purchase', credits_per_unit: '108', reason: 'a test' }
    await http.made('/v1/admin/exchange-rates', rate, { key: service.adminKey })
    t.match(await http.post('/v1/purchases', what), { status: 201, body: { credits: '2700', currency: 'EUR' } })
  })

  t.test('shows everything that came from elsewhere as text', async (t) => {
    const evil = `"><img src=x onerror=alert(1)>'&`
    const back = `https://app.example.com/?a=1&b="'><script>`
    const { page, id } = await order(await service.wallet('1'), { success_url: back, cancel_url: back })
    await untold(service, { id }, { title: evil, failure: evil })
    const { text } = await page()
    t.notMatch(text, /<img|<script|onerror=alert\(1\)>/)
    t.match(text, '&quot;&gt;&lt;img src=x onerror=alert(1)&gt;&#39;&amp;')
    t.match(text, 'href="https://app.example.com/?a=1&amp;b=&quot;&#39;&gt;&lt;script&gt;"')
  })

  t.test('has pages that work without a script, load nothing of others and are loudly marked', async (t) => {
    const { page, path } = await order(await service.wallet('1'), { success_url: 'https://app.example.com/' })
    const pages = [await page(), await http.get('/sandbox/done', { key: null }), await http.get(`${path}0`, { key: null })]
    t.same(
      pages.map(({ status }) => status),
      [200, 200, 404],
    )
    for (const { text, headers } of pages) {
      t.match(text, '<strong>Sandbox</strong> No card, no bank, no money')
      t.notMatch(text, /<script|<style|style=|\son\w+=/)
      t.match(headers['content-security-policy'], /^default-src 'none'; style-src 'self'; img-src 'self'; form-action '/)
      t.notMatch(headers['content-security-policy'], /unsafe|\*/)
      t.equal(headers['cache-control'], 'no-store')
    }
    t.match(pages[0]?.headers['content-security-policy'], "form-action 'self' https://app.example.com;", 'which the redirect leads to')
    for (const [name, type] of [['page.css', 'text/css; charset=utf-8'] as const, ['icon.svg', 'image/svg+xml'] as const]) {
      t.match(await http.get(`/sandbox/${name}`, { key: null }), { status: 200, headers: { 'content-type': type } })
    }
  })

  t.test('does nothing for pages of others', async (t) => {
    const wallet = await service.wallet('1')
    const { click } = await order(wallet)
    for (const origin of ['https://evil.example', 'http://127.0.0.1', `https://127.0.0.1:${http.port}0`, 'null', 'nonsense']) {
      t.match(await click('pay', { origin }), { status: 403, text: /"code":"forbidden"/ }, origin)
    }
    t.same(await figures(wallet), { balance: '1', debt: '0' })
    t.equal((await click('pay', { origin: http.base })).status, 303)
  })

  t.test('refuses what its forms do not send', async (t) => {
    const wallet = await service.wallet('1')
    const { click, path } = await order(wallet)
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x']) {
      t.match(await click('pay', { 'content-type': type }), { status: 415, text: /"code":"unsupported_media_type"/ }, type)
    }
    t.match(await send(http.port, 'POST', `${path}/pay`, {}, 'x'.repeat(2_000)), { status: 413 })
    t.match(await click('steal'), { status: 404, text: /"code":"route_not_found"/ })
    for (const method of ['GET', 'PUT', 'DELETE']) t.match(await send(http.port, method, `${path}/pay`), { status: 405 }, method)
    t.match(await send(http.port, 'POST', path), { status: 405, headers: { allow: 'GET, HEAD' } })
    t.match(await send(http.port, 'POST', '/sandbox/checkout/sandbox_pay_0/pay'), { status: 404, text: /"code":"payment_not_found"/ })
    t.same(await figures(wallet), { balance: '1', debt: '0' })
  })

  t.test('sends customers to known products only', async (t) => {
    const wallet = await service.wallet('1')
    const answer = await http.post('/v1/purchases', { wallet, package: 'basic', success_url: 'https://evil.example/' })
    t.match(answer, { status: 422, body: { code: 'return_url_not_allowed' } })
    t.equal((await http.post('/v1/purchases', { wallet, package: 'basic', success_url: `${http.base}/demo` })).status, 201, 'itself is one')
  })

  t.test('leaves a sound book', async (t) => t.same(await service.unsound(), []))
})

t.test('what can happen to a payment, in every order', async (t) => {
  const seen = new Map<string, SandboxPayment>()
  const visit = (payment: SandboxPayment) => {
    const name = JSON.stringify(payment)
    if (seen.has(name)) return
    seen.set(name, payment)
    for (const action of SANDBOX_ACTIONS) {
      const after = act(payment, action, 1)
      if (!actionsOf(payment).includes(action)) t.equal(after, payment, `${action} changes nothing`)
      visit(after)
    }
  }
  visit(OPEN)
  visit({ ...OPEN, status: 'paid', refunded: '1500' })
  for (const { amount, refunded, withdrawn, dispute, status } of seen.values()) {
    t.ok(BigInt(refunded) + BigInt(withdrawn) <= BigInt(amount), 'no more goes than came')
    t.equal(withdrawn !== '0', dispute === 'open' || dispute === 'lost')
    if (status === 'open') t.same([refunded, withdrawn], ['0', '0'])
  }
  t.ok(seen.size >= 8, `${seen.size} states`)
})

/** What a page suggests to do. */
function primariesOf(text: string): string[] {
  return [...text.matchAll(/class="(?:button )?first"[^>]*>([^<]*)</g)].map(([, label]) => label as string)
}

interface FormAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** A form as browsers send it; redirects are not followed, and Origin and Host are what the test says. */
function send(port: number, method: string, path: string, headers: Record<string, string> = {}, body = ''): Promise<FormAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers: { 'content-type': FORM, ...headers } }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk) => {
        text += chunk
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function sendForm(url: string): Promise<FormAnswer> {
  return send(Number(new URL(url).port), 'POST', new URL(url).pathname)
}
