import type { Estimator } from '../estimates/estimate.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { resolveModel } from '../pricing/resolve.ts'
import type { Estimate } from './schemas.ts'

/** Counts the tokens of a request's text with the tokenizer of the model that it names. The text itself goes no further. */
export function estimateWith(estimator: Pick<Estimator, 'countTokens'>, prices: () => PriceBook): Estimate {
  return (body) => {
    const { input_text: text, model: name } = body
    if (text === undefined || name === undefined) return body
    const price = resolveModel(prices(), Date.now(), name, body.provider ?? null)
    return estimator.countTokens(price?.model ?? name, price?.provider ?? null, text).then(({ tokens, method }) => ({
      ...body,
      estimated: {
        usage: { input_tokens: tokens, ...(body.max_output_tokens !== undefined && { output_tokens: body.max_output_tokens }) },
        method,
      },
    }))
  }
}
