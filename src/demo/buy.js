import { element, line, say } from './dom.js'

/** The part of the page that sells credits: what is on sale, the way to the payment page, and what became of the last orders. */

const ORDERS_SHOWN = 3

const STATUS = {
  ...{ pending: 'not paid yet', paid: 'paid', failed: 'not paid in time' },
  ...{ partially_refunded: 'partly refunded', refunded: 'refunded', disputed: 'disputed at the bank' },
}

/** @param token gets the token of the person whose page it is */
export function openShop(token) {
  let isBusy = false
  /** An order was placed here, and the note asks to pay it. */
  let isWaiting = false
  let refreshes = 0

  async function refresh() {
    refreshes += 1
    const turn = refreshes
    const orders = await ordersOf(await token())
    // An answer that was slow is older than what is shown.
    if (turn !== refreshes) return orders
    element('orders').replaceChildren(...orders.map(orderItem))
    if (isWaiting && orders[0]?.status === 'paid') {
      isWaiting = false
      say('bought', paidNote(orders[0]))
    }
    return orders
  }

  async function buy(name) {
    // Opened at once: browsers allow a new tab in answer to a click, and not a while after it.
    const tab = window.open('', '_blank')
    try {
      const response = await fetch(`/demo/buy/${name}`, { method: 'POST' })
      const body = await response.json()
      if (!response.ok) throw new Error(body.detail)
      show(tab, body.checkout.url)
      isWaiting = true
    } catch (error) {
      tab?.close()
      throw error
    }
    await refresh()
  }

  async function start() {
    const offer = await (await fetch('/demo/packages')).json()
    const buttons = offer.data.map(packageButton)
    for (const button of buttons) {
      button.addEventListener('click', () => {
        // One order at a time, however often it is clicked.
        if (isBusy) return
        isBusy = true
        buy(button.dataset.package)
          .catch(complain)
          .finally(() => {
            isBusy = false
          })
      })
    }
    element('packages').replaceChildren(...buttons)
    say('bought', noteOf(offer))
    const [newest] = await refresh()
    greet(newest)
  }

  start().catch(complain)
  // What happened on the payment page does not always move the wallet: a declined card, an order that was left.
  window.addEventListener('focus', () => refresh().catch(() => {}))
  return { refresh: () => refresh().catch(() => {}) }
}

/** The service's own words, where it said any. */
function complain(error) {
  say('bought', error.name === 'Error' ? error.message : 'The service did not answer.', true)
}

async function ordersOf(bearer) {
  const response = await fetch(`/v1/wallets/user:demo/payments?limit=${ORDERS_SHOWN}`, { headers: { authorization: `Bearer ${bearer}` } })
  const body = await response.json()
  if (!response.ok) throw new Error(body.detail)
  return body.data
}

function noteOf({ provider, livemode, data }) {
  if (provider === null) return 'No payment provider is configured: nothing can be bought here.'
  if (data.length === 0) return 'No package is on sale: POST /v1/admin/packages adds one.'
  if (provider === 'sandbox') return 'There is no Stripe key here, so a sandbox plays the payment provider: no card, no money.'
  return livemode ? 'Paid at Stripe, with real money.' : 'Paid at Stripe in test mode: its test cards work, real ones do not.'
}

function packageButton({ id, name, price, currency, credits, bonus }) {
  const button = document.createElement('button')
  button.type = 'button'
  button.dataset.package = id
  const extra = bonus === '0' ? '' : `+ ${amount(bonus)} bonus`
  for (const text of [name, `${amount(credits)} credits`, extra, money(price, currency)]) {
    button.appendChild(document.createElement('span')).textContent = text
  }
  return button
}

/** Sends the new tab to the payment page; where the browser opened none, a link does. */
function show(tab, url) {
  if (!tab) {
    const link = document.createElement('a')
    Object.assign(link, { href: url, target: '_blank', rel: 'noopener', textContent: 'pay on this page' })
    say('bought', 'Ordered. The browser opened no new tab: ')
    element('bought').append(link)
    return
  }
  tab.opener = null
  tab.location.replace(url)
  say('bought', 'Ordered. Pay in the new tab; the credits arrive here by themselves.')
}

/** Says what became of the order to somebody who comes back from the payment page. */
function greet(newest) {
  const isPaid = location.search === '?paid'
  if (!newest || !(isPaid || location.search === '?left')) return
  // Loading the page again is not coming back again.
  history.replaceState(null, '', location.pathname)
  if (isPaid && newest.status === 'paid') say('bought', paidNote(newest))
  else if (isPaid && newest.status === 'pending') say('bought', 'The credits come as soon as the payment provider confirms the payment.')
  else if (newest.status === 'pending') say('bought', `Nothing was paid. ${newest.failure ?? ''}`, true)
}

function paidNote(payment) {
  return `Paid: ${creditsOf(payment)} credits were added.`
}

function orderItem(payment) {
  const item = document.createElement('li')
  const { status, failure, provider, provider_payment_id: id } = payment
  const what = `${creditsOf(payment)} credits for ${money(payment.amount, payment.currency)}`
  const said = line(what, status === 'pending' && failure ? failure : STATUS[status])
  item.append(said)
  if (provider === 'sandbox' && id !== null) {
    const link = document.createElement('a')
    Object.assign(link, { href: `/sandbox/checkout/${id}`, target: '_blank', rel: 'noopener' })
    link.textContent = status === 'pending' ? 'Try again in the sandbox' : 'Open in the sandbox'
    item.append(link)
  }
  return item
}

function creditsOf({ credits, bonus }) {
  return bonus === '0' ? amount(credits) : `${amount(credits)} + ${amount(bonus)}`
}

/** Decimal strings, formatted as such: a JavaScript number would round them. */
function amount(credits) {
  return new Intl.NumberFormat('en', { maximumFractionDigits: 6 }).format(credits)
}

function money(price, currency) {
  return new Intl.NumberFormat('en', { style: 'currency', currency }).format(price)
}
