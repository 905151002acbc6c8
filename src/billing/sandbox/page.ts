import { formatMoney } from '../money.ts'
import { grouped } from '../order-title.ts'
import { SANDBOX_PATH } from './gateway.ts'
import { badge, choice, escaped, page, wayBack, wayOut } from './layout.ts'
import { actionsOf, type SandboxAction, type SandboxPayment } from './payment.ts'

/** The page on which a pretended customer pays, and a pretended bank acts. */
export function checkoutPage(payment: SandboxPayment, trouble: string | null = null): string {
  const { id, title, currency, amount, refunded, withdrawn, dispute, status, failure } = payment
  const money = (units: string) => `${grouped(formatMoney(BigInt(units), currency))} ${currency}`
  const declined = status === 'open' && failure !== null ? `${failure} Nothing was paid; it can be tried again.` : null
  const alert = trouble ?? declined
  const state = stateOf(payment)
  const facts: [string, string][] = []
  if (refunded !== '0') facts.push(['Given back', money(refunded)])
  if (withdrawn !== '0') facts.push([dispute === 'lost' ? 'Given back by the bank' : 'Held by the bank', money(withdrawn)])
  facts.push(['Payment', id])
  const path = `${SANDBOX_PATH}/${encodeURIComponent(id)}`
  const choices = actionsOf(payment).map((action) => {
    const { label, effect } = ACTIONS[action]
    return choice(path, action, action === 'pay' ? `${label} ${money(amount)}` : label, effect, action === 'pay')
  })
  const later = choices.length === 0 ? '' : `<h2>${dispute === 'open' ? 'How the bank decides' : 'What may still happen'}</h2>`
  return page(
    `${title}: ${state.text}`,
    `${badge(state.kind, state.text)}
      <h1>${escaped(title)}</h1>
      <p class="price">${escaped(money(amount))}</p>
      ${alert ? `<p class="alert" role="alert">${escaped(alert)}</p>` : ''}
      ${status === 'paid' ? `${wayBack(payment.successUrl)}\n      ${later}` : ''}
      ${choices.join('\n      ')}
      <dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
      ${status === 'paid' ? '' : wayOut(payment.cancelUrl, status === 'open' ? 'Leave without paying' : 'Back to the product')}`,
  )
}

/** Where customers arrive while no product says where they should. */
export function donePage(): string {
  return page(
    'Back from the sandbox',
    `<h1>Back from the sandbox</h1>
      <p>Here your customers would be in your product again.</p>
      <p>Name its page as <code>success_url</code> in <code>POST /v1/purchases</code> and <code>POST /v1/wallets/{wallet}/cards</code>, or for all of them as <code>CHECKOUT_RETURN_URL</code>. Whether an order was paid is in <code>GET /v1/payments/{payment_id}</code>, never in the fact that somebody arrives here.</p>`,
  )
}

export function unknownPage(): string {
  return page(
    'Nothing is here',
    '<h1>Nothing is here</h1>\n      <p>The sandbox has no payment or card page at this address. Its books are in the database of this service.</p>',
  )
}

const ACTIONS: Readonly<Record<SandboxAction, { readonly label: string; readonly effect: string }>> = {
  pay: { label: 'Pay', effect: 'As with a good card: the credits come at once.' },
  decline: { label: 'Pay with a declined card', effect: 'Nothing is paid, and it can be tried again.' },
  refund: {
    label: 'Refund',
    effect: 'All that is left goes back to the customer. Its credits are taken back; those that were spent become debt.',
  },
  dispute: {
    label: 'Dispute',
    effect: 'The customer complains to the bank. Until it has decided, the money is taken back, and the credits with it.',
  },
  win: { label: 'Product wins', effect: 'The bank gives the money back to the product, and the credits return to the customer.' },
  lose: { label: 'Customer wins', effect: 'The customer gets the money, and the credits do not come back.' },
}

function stateOf({ status, failure, dispute, refunded, amount }: SandboxPayment): { kind: string; text: string } {
  if (status === 'open') return failure === null ? { kind: 'open', text: 'Not paid yet' } : { kind: 'bad', text: 'Declined' }
  if (status === 'cancelled') return { kind: 'open', text: 'Given up' }
  if (dispute === 'open') return { kind: 'bad', text: 'Disputed' }
  if (dispute === 'lost') return { kind: 'bad', text: 'Dispute lost' }
  if (refunded === amount) return { kind: 'open', text: 'Refunded' }
  if (refunded !== '0') return { kind: 'good', text: 'Paid, partly refunded' }
  return { kind: 'good', text: dispute === 'won' ? 'Paid, dispute won' : 'Paid' }
}
