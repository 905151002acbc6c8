import { formatMoney } from '../money.ts'
import { SANDBOX_PATH } from './gateway.ts'
import { actionsOf, type SandboxAction, type SandboxPayment } from './payment.ts'

/** The page on which a pretended customer pays, and a pretended bank acts. It works without a script. */
export function checkoutPage(payment: SandboxPayment, trouble: string | null = null): string {
  const { id, title, currency, amount, refunded, withdrawn, status, failure } = payment
  const money = (units: string) => `${formatMoney(BigInt(units), currency)} ${currency}`
  const alert = trouble === null ? failure && `${failure} Nothing was paid; it can be tried again.` : trouble
  const state = stateOf(payment)
  const facts: [string, string][] = []
  if (refunded !== '0') facts.push(['Given back', money(refunded)])
  if (withdrawn !== '0') facts.push(['Taken by the bank', money(withdrawn)])
  facts.push(['Payment', id])
  const choices = actionsOf(payment).map((action, index) =>
    choice(action, `${SANDBOX_PATH}/${encodeURIComponent(id)}`, index, money(amount)),
  )
  const way = status === 'paid' ? [payment.successUrl, 'Back to the product'] : [payment.cancelUrl, 'Leave without paying']
  return page(
    `${title}: ${state.text}`,
    `<p class="state" data-state="${state.kind}">${escaped(state.text)}</p>
      <h1>${escaped(title)}</h1>
      <p class="price">${escaped(money(amount))}</p>
      ${alert ? `<p class="alert" role="alert">${escaped(alert)}</p>` : ''}
      ${choices.join('\n      ')}
      <dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
      <p class="way"><a href="${escaped(way[0] as string)}">${way[1]}</a></p>`,
  )
}

/** Where customers arrive while no product says where they should. */
export function donePage(): string {
  return page(
    'Back from the checkout',
    `<h1>Back from the checkout</h1>
      <p>Here your customers would be in your product again.</p>
      <p>Name its page as <code>success_url</code> in <code>POST /v1/purchases</code>, or for all purchases as <code>CHECKOUT_RETURN_URL</code>. Whether an order was paid is in <code>GET /v1/payments/{payment_id}</code>, never in the fact that somebody arrives here.</p>`,
  )
}

export function unknownPage(): string {
  return page(
    'No such payment',
    '<h1>No such payment</h1>\n      <p>The sandbox has no payment at this address. Its books are in the database of this service.</p>',
  )
}

/** Nothing but its own files; its forms lead to the sandbox, which may send on to the product. */
export function pageHeaders(product: string | null) {
  const forms = product === null ? "'none'" : `'self' ${new URL(product).origin}`
  const own = "default-src 'none'; style-src 'self'; img-src 'self'"
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `${own}; form-action ${forms}; base-uri 'none'; frame-ancestors 'none'`,
    'referrer-policy': 'same-origin',
  }
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
    effect: 'The customer complains to the bank, which holds the money while it decides. The credits are held back as well.',
  },
  win: { label: 'Product wins', effect: 'The bank returns the money, and the credits come back.' },
  lose: { label: 'Customer wins', effect: 'The bank keeps the money, and the credits stay away.' },
}

function choice(action: SandboxAction, path: string, index: number, price: string): string {
  const { label, effect } = ACTIONS[action]
  const text = action === 'pay' ? `${label} ${price}` : label
  const first = index === 0 ? ' class="first"' : ''
  return `<form method="post" action="${path}/${action}"><button${first} aria-describedby="${action}-effect">${escaped(text)}</button><p id="${action}-effect">${effect}</p></form>`
}

function stateOf({ status, failure, dispute, refunded, amount }: SandboxPayment): { kind: string; text: string } {
  if (status === 'open') return failure === null ? { kind: 'open', text: 'Not paid yet' } : { kind: 'bad', text: 'Declined' }
  if (dispute === 'open') return { kind: 'bad', text: 'Disputed' }
  if (dispute === 'lost') return { kind: 'bad', text: 'Dispute lost' }
  if (refunded === amount) return { kind: 'open', text: 'Refunded' }
  if (refunded !== '0') return { kind: 'good', text: 'Paid, partly refunded' }
  return { kind: 'good', text: dispute === 'won' ? 'Paid, dispute won' : 'Paid' }
}

/** @param title text; @param main HTML */
function page(title: string, main: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${escaped(title)} (sandbox)</title>
    <link rel="icon" href="/sandbox/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/sandbox/page.css">
  </head>
  <body>
    <p class="banner"><strong>Sandbox</strong> No card, no bank, no money: this page plays a payment provider for development.</p>
    <main>
      ${main}
    </main>
  </body>
</html>
`
}

/** Everything on a page that came from somewhere else goes through this. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;')
}
