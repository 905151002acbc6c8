import { openShop } from './buy.js'
import { createFarebox } from './client/index.ts'
import { element, line, say as sayAt } from './dom.js'
import { amount, shortId, timeOf } from './words.js'

/** A page as a product would have it: the client keeps the wallet's figures up to date, the page only shows them. */

const CAUSES_SHOWN = 8

const STATUS = {
  socket: 'Live, over a socket',
  stream: 'Live, over an event stream: the socket does not get through',
  polling: 'Read every few seconds: neither socket nor stream get through',
  connecting: 'Connecting…',
  offline: 'Offline: these figures may be old',
  closed: 'Closed: load the page again',
}

const CAUSE = {
  ...{ reserve: 'Reserved', extend: 'Hold extended', commit: 'Committed', release: 'Released', expire: 'A hold expired' },
  ...{ charge: 'Charged', event: 'Charged', refund: 'Refunded', earning: 'Earned', grant: 'Credits added', void: 'A grant was voided' },
  ...{ payment: 'Payment', redeem: 'Code redeemed', top_up: 'Automatic top-up', subscription: 'Subscription' },
  ...{ adjust: 'Adjusted', settle: 'A grant settled', configure: 'Settings changed', status: 'Status changed' },
}

const farebox = createFarebox({ url: '/', ticket, token })
const shop = openShop(token)
let last

farebox.on('status', showStatus)
farebox.subscribe(undefined, (balance) => {
  showBalance(balance)
  const steps = last && last.epoch === balance.epoch ? balance.version - last.version : 0
  const label = showCause(balance, steps)
  if (steps === 1 && balance.cause?.type === 'payment') nameOf(balance, label)
  // What was missed may have been a payment.
  else if (last && steps !== 1) shop.refresh()
  last = balance
})

element('origin').textContent = location.origin
for (const button of document.querySelectorAll('[data-action]')) {
  button.addEventListener('click', () => {
    if (button.getAttribute('aria-disabled') === 'true') say('Nothing is held: reserve first.', true)
    else act(button.dataset.action).catch(() => say('The service did not answer.', true))
  })
}

/** A person's token. A product gets it from its own backend, which knows who is logged in. */
async function token() {
  return (await post('/demo/token')).token
}

/** Opens one socket. The token itself stays out of the handshake, which ends up in the logs of proxies. */
async function ticket() {
  return (await post('/v1/realtime/tickets', await token())).ticket
}

async function post(path, bearer) {
  const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
  const response = await fetch(path, { method: 'POST', headers })
  const body = await response.json()
  if (response.ok) return body
  say(body.detail, true)
  throw new Error(body.detail)
}

/** Asks the demo's backend for one step. What it does to the wallet comes back over the socket, as everywhere. */
async function act(action) {
  const response = await fetch(`/demo/${action}`, { method: 'POST' })
  const body = await response.json()
  if (!response.ok) say(body.detail, true)
  else if (action === 'reserve') say(`${amount(body.amount)} credits are held until ${timeOf(body.expires_at)}.`)
  else if (action === 'commit') say(`The call cost ${amount(body.charged)}; ${amount(body.released)} went back.`)
  else if (action === 'release') say(`${amount(body.released)} credits went back.`)
  else say(`${amount(body.amount)} credits were added.`)
}

function say(text, isBad) {
  sayAt('answer', text, isBad)
}

function showStatus({ state, reason }) {
  const status = element('status')
  status.textContent = STATUS[state === 'live' ? reason : state]
  status.dataset.state = state
  status.dataset.reason = reason
  element('wallet').dataset.fresh = String(state === 'live' || state === 'polling')
}

function showBalance(balance) {
  for (const name of ['available', 'balance', 'held', 'debt', 'version']) element(name).textContent = amount(balance[name])
  const whole = Math.max(Number(balance.balance), Number(balance.held), 1)
  element('bar-held').style.width = `${(100 * Number(balance.held)) / whole}%`
  element('bar-available').style.width = `${(100 * Math.max(Number(balance.available), 0)) / whole}%`
  const isHeld = balance.held !== '0'
  element('wallet').dataset.held = String(isHeld)
  for (const name of ['commit', 'release']) {
    document.querySelector(`[data-action=${name}]`).setAttribute('aria-disabled', String(!isHeld))
  }
}

/** A frame is the state, not a difference: what changed is worked out from the state before, which may be several versions back. */
function showCause(balance, steps) {
  const what = steps === 1 ? CAUSE[balance.cause?.type] : undefined
  const caughtUp = steps > 1 ? `${steps} changes at once` : 'A change'
  const changes = last ? ['balance', 'held', 'debt'].flatMap((name) => changeOf(name, last[name], balance[name])) : []
  const found = `balance ${amount(balance.balance)}`
  const said = line(what ?? (last ? caughtUp : 'When this page opened'), last ? changes.join(', ') : found)
  const item = document.createElement('li')
  const id = balance.cause?.id ? ` · ${shortId(balance.cause.id)}` : ''
  item.append(said, line(`change ${amount(balance.version)}${id}`, timeOf(balance.as_of)))
  const causes = element('causes')
  causes.prepend(item)
  while (causes.children.length > CAUSES_SHOWN) causes.lastElementChild.remove()
  return said.firstElementChild
}

/** A frame says that a payment moved the wallet; what happened to the payment is in its order. */
function nameOf({ balance, cause }, label) {
  const isLess = toMicro(balance) < toMicro(last.balance)
  if (isLess) label.textContent = 'Credits taken back'
  shop
    .nameOf(cause.id, isLess)
    .then((name) => {
      label.textContent = name
    })
    .catch(() => {})
}

function changeOf(name, before, after) {
  const micro = toMicro(after) - toMicro(before)
  return micro === 0n ? [] : [`${name} ${micro < 0n ? '−' : '+'}${amount(fromMicro(micro < 0n ? -micro : micro))}`]
}

/** Credits are decimal strings; a JavaScript number would round them. */
function toMicro(credits) {
  const [whole, decimals = ''] = credits.split('.')
  return BigInt(whole + decimals.padEnd(6, '0'))
}

function fromMicro(micro) {
  const text = micro.toString().padStart(7, '0')
  return `${text.slice(0, -6)}.${text.slice(-6)}`.replace(/\.?0+$/, '')
}
