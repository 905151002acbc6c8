import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { createService } from '../helpers/service.ts'
import { openRoad } from './road.ts'

/** The demo's page in a real browser. */

const CHROMIUM = '/usr/bin/chromium'
const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]
const WAIT = { timeout: 30_000 }

t.setTimeout(300_000)

t.test('two pages follow a wallet', { skip: !existsSync(CHROMIUM) && `there is no ${CHROMIUM}: apt-get install chromium` }, async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const road = await openRoad(t, port)
  const browser = await openBrowser(t)
  const [first, second, faults] = await openPages(browser, `${road.base}/demo`)
  const pages = [first, second]
  const { body } = await service.get('/v1/wallets', { key: service.adminKey })
  const wallet = body.data[0].id
  const made = (path: string, more: object = {}) => service.made(path, more, { key: service.adminKey })
  const truth = async () => (await service.get(`/v1/wallets/${wallet}/balance`, { key: service.adminKey })).body

  await t.test('what a program does over HTTP moves in both', async (t) => {
    for (const page of pages) await shows(page, { available: '100', held: '0', version: '2' })
    const { id } = await made('/v1/reservations', { wallet, amount: '10' })
    for (const page of pages) await shows(page, { available: '90', held: '10', balance: '100' })
    await made(`/v1/reservations/${id}/commit`, { amount: '4' })
    for (const page of pages) {
      await shows(page, { available: '96', held: '0', balance: '96' })
      t.same((await textsOf(page, '#causes div:first-child span:first-child')).slice(0, 2), ['Committed', 'Reserved'])
      t.same((await textsOf(page, '#causes div:first-child span:last-child')).slice(0, 2), ['balance −4, held −10', 'held +10'])
    }
  })

  await t.test('what one page does moves in the other', async (t) => {
    await first.click('[data-action=reserve]')
    await shows(second, { available: '86', held: '10' })
    await second.click('[data-action=commit]')
    await shows(first, { held: '0' })
    const { available } = await truth()
    t.ok(Number(available) < 96 && Number(available) >= 86, available)
    for (const page of pages) await shows(page, { available })
    await first.click('[data-action=grant]')
    await shows(second, { available: String(Number((Number(available) + 50).toFixed(2))) })
    await first.click('[data-action=release]', { force: true })
    t.match(await first.textContent('#answer'), 'Nothing is held')
  })

  await t.test('a wallet that cannot carry it says so', async () => {
    const before = await truth()
    await made('/v1/charges', { wallet, amount: String(Math.floor(Number(before.available))) })
    await first.click('[data-action=reserve]')
    await first.waitForSelector('#answer[data-bad=true]:has-text("are available")', WAIT)
    await first.click('[data-action=grant]')
    await first.waitForSelector('#answer:text-is("50 credits were added.")', WAIT)
    for (const page of pages) await shows(page, { available: (await truth()).available })
  })

  await t.test('credits that are bought in one page arrive in both', async (t) => {
    const { balance } = await truth()
    const after = (credits: number) => ({ balance: (Number(balance) + credits).toLocaleString('en') })
    const notes = async (text: string, isBad = false) => {
      // The first page stays behind another tab all the time: no focus tells it to look.
      await first.waitForSelector(`#bought[data-bad=${isBad}]:text-is("${text}")`, WAIT)
    }
    const moves = async (name: string) => {
      for (const page of pages) await page.waitForSelector(`#causes li:first-child span:first-child:text-is("${name}")`, WAIT)
    }
    const [checkout] = await Promise.all([browser.waitForEvent('page', WAIT), first.click('[data-package=basic]')])
    await checkout.waitForURL('**/sandbox/checkout/**', WAIT)
    t.match(await checkout.textContent('.banner'), 'No card, no bank, no money')
    t.equal(await checkout.textContent('h1'), 'Basic · 5,000 + 500 credits')
    t.match(await checkout.textContent('.price'), '45.00 USD')
    await notes('Pay in the new tab; the credits arrive here by themselves.')
    await picture(t, checkout, 'checkout')
    const page = checkout.url()

    await checkout.click('button:text-is("Pay with a declined card")')
    await checkout.waitForSelector('[role=alert]:has-text("declined")', WAIT)
    const declined = 'The card was declined. Nothing was paid; the order can still be paid, below.'
    await notes(declined, true)
    await checkout.setViewportSize({ width: 340, height: 700 })
    await checkout.emulateMedia({ colorScheme: 'dark' })
    t.equal(await checkout.evaluate('document.documentElement.scrollWidth'), 340)
    await picture(t, checkout, 'declined')
    await checkout.click('a:text-is("Leave without paying")')
    await checkout.waitForSelector('#bought[data-bad=true]:has-text("The card was declined.")', WAIT)
    t.equal((await truth()).balance, balance)

    await checkout.goto(page)
    // The first thing that the keyboard reaches is to pay.
    await checkout.keyboard.press('Tab')
    await checkout.keyboard.press('Enter')
    await checkout.waitForURL('**/demo', WAIT)
    const paid = 'Paid: 5,000 + 500 credits were added.'
    await checkout.waitForSelector(`#bought[data-bad=false]:text-is("${paid}")`, WAIT)
    await checkout.waitForSelector('#tabs:has-text("can be closed")', WAIT)
    t.notOk(await first.isVisible('#tabs'))
    await notes(paid)
    await picture(t, checkout, 'paid')
    for (const one of pages) {
      await shows(one, after(5_500))
      t.match(await one.textContent('#causes li:first-child'), 'balance +5,500')
      await one.waitForSelector('#orders li:first-child span:text-is("paid")', WAIT)
    }
    await moves('Payment')

    await checkout.goto(page)
    await checkout.click('button:text-is("Dispute")')
    await checkout.waitForSelector('.state:text-is("Disputed")', WAIT)
    for (const one of pages) await shows(one, after(0))
    await moves('Dispute')
    await notes('Disputed at the bank: 5,500 credits were taken back.')
    await checkout.click('button:text-is("Product wins")')
    for (const one of pages) await shows(one, after(5_500))
    await moves('Dispute won')
    await notes(paid)
    await checkout.click('button:text-is("Refund")')
    for (const one of pages) {
      await shows(one, after(0))
      await one.waitForSelector('#orders li:first-child:has-text("refunded")', WAIT)
    }
    await moves('Refund')
    await notes('Refunded: 5,500 credits were taken back.')
    await picture(t, first, 'bought')
    await checkout.close()
  })

  await t.test('an order whose payment page was closed or left is paid later', async (t) => {
    const { balance } = await truth()
    const pay = '#orders li:first-child a:text-is("Pay this order")'
    const opened = async (selector: string) => {
      const [tab] = await Promise.all([browser.waitForEvent('page', WAIT), first.click(selector)])
      await tab.waitForURL('**/sandbox/checkout/**', WAIT)
      return tab
    }
    const closed = await opened('[data-package=starter]')
    const address = closed.url()
    await closed.close()
    await first.waitForSelector(pay, WAIT)
    await first.reload()
    await first.waitForSelector(pay, WAIT)
    t.match(await first.textContent('#orders li:first-child'), `pay_…${address.slice(-6)}`)

    const left = await opened(pay)
    t.equal(left.url(), address, 'an order has one page')
    await left.click('a:text-is("Leave without paying")')
    // Nobody made a mistake.
    await left.waitForSelector('#bought[data-bad=false]:text-is("Nothing was paid. The order can still be paid, below.")', WAIT)
    await left.waitForSelector(pay, WAIT)
    await left.close()

    const again = await opened(pay)
    await again.click('button:has-text("Pay 10.00 USD")')
    await shows(first, { balance: (Number(balance) + 1_000).toLocaleString('en') })
    await first.waitForSelector('#bought:text-is("Paid: 1,000 credits were added.")', WAIT)
    t.notOk(await first.isVisible(pay))
    await again.close()
    await made('/v1/charges', { wallet, amount: '1000' })
  })

  await t.test('an order that cannot be placed says why', async () => {
    const reason = 'a test'
    const basic = { package: 'basic', name: 'Basic', price: '45.00', currency: 'USD', credits: '5000', bonus: '500', reason }
    await made('/v1/admin/packages', { ...basic, enabled: false })
    const [tab] = await Promise.all([browser.waitForEvent('page', WAIT), first.click('[data-package=basic]')])
    await first.waitForSelector('#bought[data-bad=true]:has-text("is on sale")', WAIT)
    // And leaves no empty tab behind.
    if (!tab.isClosed()) await tab.waitForEvent('close', WAIT)
    await made('/v1/admin/packages', basic)
  })

  await t.test('where sockets are blocked, the page falls back and still shows the truth', async (t) => {
    road.blockSockets()
    for (const page of pages) await page.waitForSelector('#status[data-reason=stream]', WAIT)
    await made('/v1/charges', { wallet, amount: '1.25' })
    const { available, version } = await truth()
    for (const page of pages) await shows(page, { available, version: String(version) })
    t.match(await first.textContent('#status'), /event stream/)
    t.equal(await first.getAttribute('#wallet', 'data-fresh'), 'true')
    await picture(t, first)
  })

  await t.test('and goes back to a socket when one gets through', async (t) => {
    road.unblockSockets()
    for (const page of pages) await page.evaluate("dispatchEvent(new Event('online'))")
    for (const page of pages) await page.waitForSelector('#status[data-reason=socket]', WAIT)
    await made('/v1/charges', { wallet, amount: '0.000001' })
    const { available } = await truth()
    for (const page of pages) await shows(page, { available })
    t.match(available, /\.\d{6}$/, 'to the millionth')
  })

  await t.test('it fits a phone, and nothing that it needs is refused', async (t) => {
    await first.setViewportSize({ width: 340, height: 700 })
    t.equal(await first.evaluate('document.documentElement.scrollWidth'), 340)
    const boxes = await Promise.all((await first.locator('#packages button').all()).map((one) => one.boundingBox()))
    t.equal(new Set(boxes.map((box) => `${box?.x} ${box?.width}`)).size, 1, 'no package stands alone in its row')
    const [heading, status] = [await first.locator('h1').boundingBox(), await first.locator('#status').boundingBox()]
    t.ok(heading && status && status.y < heading.y + heading.height, 'the state of the connection stands beside the heading')
    await first.emulateMedia({ colorScheme: 'dark' })
    await picture(t, first)
    // Sockets that were cut, the reserve that the wallet could not carry, and the package that was off sale.
    const expected = /\/v1\/(realtime|wallets\/[^/]+\/stream)|402 .*\/demo\/reserve|422 .*\/demo\/buy/
    const unexpected = faults.filter((fault) => !expected.test(fault))
    t.same(unexpected, [])
  })
})

async function openBrowser(t: Test): Promise<BrowserContext> {
  const profile = mkdtempSync(join(tmpdir(), 'farebox-chromium-'))
  t.teardown(() => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }))
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: FLAGS,
    viewport: { width: 900, height: 900 },
  })
  t.teardown(() => browser.close())
  return browser
}

/** Two pages, live, and whatever their console complains of. */
async function openPages(browser: BrowserContext, url: string): Promise<[Page, Page, string[]]> {
  const faults: string[] = []
  const open = async () => {
    const page = await browser.newPage()
    page.on('pageerror', (error) => faults.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(`${message.text()} (${message.location().url})`)
    })
    await page.goto(url)
    await page.waitForSelector('#status[data-state=live]', WAIT)
    return page
  }
  return [await open(), await open(), faults]
}

/** Waits until a page shows these figures. */
async function shows(page: Page, figures: Readonly<Record<string, string>>): Promise<void> {
  for (const [id, text] of Object.entries(figures)) await page.waitForSelector(`#${id}:text-is("${text}")`, WAIT)
}

function textsOf(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allTextContents()
}

async function picture(t: Test, page: Page, name = t.name.replace(/\W+/g, '-').slice(0, 30)): Promise<void> {
  const path = join(tmpdir(), `farebox-demo-${process.pid}-${name}.png`)
  await page.screenshot({ path, fullPage: true })
  t.comment(`picture: ${path}`)
}
