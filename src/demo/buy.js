import { element, say } from './dom.js'
import { noteOn, orderItem } from './orders.js'
import { amount, money } from './words.js'

/** The part of the page that sells credits: what is on sale, the way to the payment page, and what became of the last orders. */

const ORDERS_SHOWN = 3
const ORDERS_READ = 20
/** A card that is declined moves no wallet, so nothing is pushed; and a window beside this one takes no focus away. */
const LOOK_MS = 3_000
/** Orders that nobody paid for longer are looked at with everything else. */
const RECENT_MS = 3_600_000
/** Less than a token counts. */
const TOKEN_KEPT_MS = 120_000

/** @param token gets the token of the person whose page it is */
export function openShop(token) {
  let isBusy = false
  /** The order that the note is about, and how somebody came to it: `{ id | reference, way }`. */
  let followed = arrival()
  /** Something is likely to happen to an order. */
  let isLive = false
  /** What was said of it last: it is said again only when it changes, so that nothing else that was said is lost. */
  let noted = ''
  let asked = 0
  let shown = { turn: 0, text: '' }
  /** Orders whose credits were taken back once, and why. */
  const taken = new Map()
  let kept = { bearer: '', until: 0 }

  async function bearer() {
    if (Date.now() >= kept.until) kept = { bearer: await token(), until: Date.now() + TOKEN_KEPT_MS }
    return kept.bearer
  }

  async function refresh() {
    asked += 1
    const turn = asked
    const orders = await ordersOf(await bearer())
    // An answer that was slow is older than what is shown.
    if (turn > shown.turn) show(turn, orders)
    return orders
  }

  function show(turn, orders) {
    const text = JSON.stringify(orders)
    // Links that are made anew lose the focus of whoever is on them.
    if (text !== shown.text) {
      const items = orders.map((order) => orderItem(order, ({ id }) => follow(id)))
      element('orders').replaceChildren(...items.slice(0, ORDERS_SHOWN))
      element('older-orders').replaceChildren(...items.slice(ORDERS_SHOWN))
      element('older').hidden = items.length <= ORDERS_SHOWN
    }
    shown = { turn, text }
    for (const { id, status, credits_reversed } of orders) if (credits_reversed !== '0') taken.set(id, status)
    const order = followed && orders.find(({ id, reference }) => id === followed.id || (reference && reference === followed.reference))
    isLive = orders.some((one) => one.status === 'pending' && (one === order || isRecent(one)))
    if (!order) return
    const { text: note, isBad } = noteOn(order, followed.way)
    if (note !== noted) say('bought', note, isBad)
    noted = note
  }

  function follow(id) {
    followed = { id, way: 'here' }
    noted = ''
    return refresh().catch(() => {})
  }

  async function buy(name) {
    // Opened at once: browsers allow a new tab in answer to a click, and not a while after it.
    const tab = window.open('', '_blank')
    try {
      const response = await fetch(`/demo/buy/${name}`, { method: 'POST' })
      const body = await response.json()
      if (!response.ok) throw new Error(body.detail)
      if (tab) {
        tab.opener = null
        tab.location.replace(body.checkout.url)
      }
      await follow(body.id)
      if (!tab) say('bought', 'Ordered, but the browser opened no new tab: pay by the link below.')
    } catch (error) {
      tab?.close()
      throw error
    }
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
    noted = ''
    await refresh()
    if (!followed) return
    element('tabs').hidden = false
    element('buy').scrollIntoView({ block: 'nearest' })
  }

  const look = () => refresh().catch(() => {})
  start().catch(complain)
  window.addEventListener('focus', look)
  document.addEventListener('visibilitychange', () => document.hidden || look())
  setInterval(() => {
    if (isLive && !document.hidden) look()
  }, LOOK_MS)

  return {
    refresh: look,

    /** What the movement of a wallet by a payment was, as its order tells. */
    async nameOf(id, isLess) {
      const before = taken.get(id)
      const orders = await refresh()
      if (isLess) return orders.find((order) => order.id === id)?.status === 'disputed' ? 'Dispute' : 'Refund'
      if (!before) return 'Payment'
      return before === 'disputed' ? 'Dispute won' : 'Credits returned'
    },
  }
}

function isRecent({ created_at }) {
  return Date.now() - Date.parse(created_at) < RECENT_MS
}

/** Whether somebody comes back from a payment page, and of which order. */
function arrival() {
  const [[way, reference] = []] = new URLSearchParams(location.search)
  if (way !== 'paid' && way !== 'left') return null
  // Loading the page again is not coming back again.
  history.replaceState(null, '', location.pathname)
  return { reference, way }
}

/** The service's own words, where it said any. */
function complain(error) {
  say('bought', error.name === 'Error' ? error.message : 'The service did not answer.', true)
}

async function ordersOf(bearer) {
  const response = await fetch(`/v1/wallets/user:demo/payments?limit=${ORDERS_READ}`, { headers: { authorization: `Bearer ${bearer}` } })
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
