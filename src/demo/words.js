/** How the page writes what the API says. */

const CREDITS = new Intl.NumberFormat('en', { maximumFractionDigits: 6 })
const DAY_AND_TIME = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' })

/** Decimal strings, formatted as such: a JavaScript number would round them. */
export function amount(credits) {
  return CREDITS.format(credits)
}

/** What was bought and what came on top, apart. */
export function creditsOf({ credits, bonus }) {
  return bonus === '0' ? amount(credits) : `${amount(credits)} + ${amount(bonus)}`
}

export function money(price, currency) {
  return new Intl.NumberFormat('en', { style: 'currency', currency }).format(price)
}

/** The end of an id: those that are made close together begin alike. */
export function shortId(id) {
  return `${id.slice(0, 4)}…${id.slice(-6)}`
}

export function timeOf(instant) {
  return new Date(instant).toLocaleTimeString()
}

export function dayAndTimeOf(instant) {
  return DAY_AND_TIME.format(new Date(instant))
}
