import { line } from './dom.js'
import { amount, creditsOf, dayAndTimeOf, money, shortId } from './words.js'

/** How an order reads: its row, and the note on what became of it. */

const STATUS = {
  ...{ pending: 'not paid yet', paid: 'paid', failed: 'given up' },
  ...{ partially_refunded: 'partly refunded', refunded: 'refunded', disputed: 'disputed at the bank' },
}

/** @param follow is told of an order when somebody goes to pay it */
export function orderItem(order, follow) {
  const item = document.createElement('li')
  const about = line(dayAndTimeOf(order.created_at), shortId(order.id))
  about.className = 'about'
  const below = document.createElement('div')
  below.append(about, linkOf(order, follow) ?? '')
  item.append(line(`${creditsOf(order)} credits for ${money(order.amount, order.currency)}`, STATUS[order.status]), below)
  if (order.status === 'pending' && order.failure) {
    const failure = item.appendChild(document.createElement('p'))
    Object.assign(failure, { className: 'failure', textContent: order.failure })
  }
  return item
}

/** Whatever can still be paid has a way to pay it, wherever its page is; at the sandbox, one can also play the bank later. */
function linkOf(order, follow) {
  const { id, status, provider, provider_payment_id: paymentId } = order
  const isPending = status === 'pending'
  if (!isPending && (provider !== 'sandbox' || paymentId === null)) return null
  const link = document.createElement('a')
  Object.assign(link, {
    href: isPending ? `/demo/pay/${id}` : `/sandbox/checkout/${paymentId}`,
    target: '_blank',
    rel: 'noopener',
    textContent: isPending ? 'Pay this order' : 'Open in the sandbox',
  })
  link.addEventListener('click', () => follow(order))
  return link
}

/** @param way how somebody came to it: ordered `here`, or back from its page, `paid` or `left` */
export function noteOn(order, way) {
  const { status, failure, credits_reversed: reversed } = order
  const taken = `${amount(reversed)} credits were taken back.`
  if (status === 'paid') return { text: `Paid: ${creditsOf(order)} credits were added.` }
  if (status === 'refunded') return { text: `Refunded: ${taken}` }
  if (status === 'partially_refunded') return { text: `Partly refunded: ${taken}` }
  if (status === 'disputed') return { text: `Disputed at the bank: ${taken}` }
  if (status === 'failed') return { text: 'Given up: nothing was paid or added.', isBad: false }
  if (failure) return { text: `${failure} Nothing was paid; the order can still be paid, below.`, isBad: true }
  if (way === 'left') return { text: 'Nothing was paid. The order can still be paid, below.' }
  if (way === 'paid') return { text: 'The credits come as soon as the payment provider confirms the payment.' }
  return { text: 'Pay in the new tab; the credits arrive here by themselves.' }
}
