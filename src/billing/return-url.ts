import { about, FareboxError, refusal } from '../kernel/errors.ts'
import type { Provider } from './payment.ts'

export interface ReturnRules {
  readonly defaultUrl: string | null
  readonly allowedOrigins: readonly string[]
}

/**
 * Where a customer is sent back to after paying, and after leaving without.
 * @param ownUrl where this service was reached; in the sandbox it is a product of its own
 * @throws FareboxError `return_url_not_allowed`, `invalid_request`
 */
export function returnUrls(
  rules: ReturnRules,
  asked: { readonly success_url?: string | undefined; readonly cancel_url?: string | undefined },
  ownUrl: string,
  provider: Provider,
): { readonly successUrl: string; readonly cancelUrl: string } {
  return {
    successUrl: returnUrl(rules, asked.success_url, '/success_url', ownUrl, provider),
    cancelUrl: returnUrl(rules, asked.cancel_url ?? asked.success_url, '/cancel_url', ownUrl, provider),
  }
}

/** Only addresses of known products: a page that takes money must not lead to whoever asked for it. @param pointer the field it came from */
function returnUrl(rules: ReturnRules, asked: string | undefined, pointer: string, ownUrl: string, provider: Provider): string {
  const sandbox = provider === 'sandbox'
  const url = asked ?? rules.defaultUrl ?? (sandbox ? `${ownUrl}/sandbox/done` : null)
  if (url === null) {
    const detail = 'Say where the customer goes afterwards; CHECKOUT_RETURN_URL would be the default.'
    throw new FareboxError({ code: 'invalid_request', detail, errors: [{ pointer, message: 'is required' }] })
  }
  const { origin } = new URL(url)
  const isAllowed = asked === undefined || rules.allowedOrigins.includes(origin) || (sandbox && origin === new URL(ownUrl).origin)
  if (isAllowed) return url
  throw new FareboxError(about(pointer, refusal('return_url_not_allowed', `${origin} is not among CHECKOUT_RETURN_ORIGINS.`)))
}
