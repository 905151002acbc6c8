import { z } from 'zod'
import * as field from '../http/fields.ts'
import { formatCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { POOLS } from './pools.ts'
import { SERVICE_TIERS } from './prices.ts'
import { costOf, ESTIMATE_METHODS, exactCredits, linesOf, type Quote, residueOf } from './quote.ts'
import { usageOut } from './usage/schemas.ts'

const exact = z.string().meta({ description: 'Credits, exact', example: '0.0403125' })

/** How a cost comes about, line by line. */
export const quoteObject = z
  .object({
    cost: field.creditsOut.meta({ description: 'What is charged: the exact cost, rounded up once, and no less than the minimum' }),
    exact,
    residue: exact.meta({ description: 'What the rounding and the minimum add: cost - exact' }),
    minimum: field.creditsOut,
    maximum: field.creditsOut,
    exempt: z.boolean().meta({ description: 'The payer owns what it uses, so the cost is 0' }),
    service_tier: z.enum(SERVICE_TIERS),
    usage: usageOut.nullable(),
    units: z.int().nullable(),
    estimate: z.enum(ESTIMATE_METHODS).nullable().meta({
      description:
        'How the tokens of input_text were counted: by the model’s tokenizer, by another one, or by length; null where nothing was estimated',
    }),
    credits_per_usd: z.string().nullable().meta({ description: 'Credits for one US dollar of the provider’s price, markup included' }),
    lines: z.array(
      z.object({
        item: z.enum(['usage', 'units', 'flat', 'charged_before']),
        pool: z.enum(POOLS).nullable(),
        priced_as: z.enum(POOLS).nullable().meta({ description: 'The pool whose price applies, where this one has none of its own' }),
        quantity: z.int(),
        usd: z.string().nullable().meta({ description: 'The provider’s price of `per` of them in US dollars' }),
        per: z.int(),
        credits: exact,
      }),
    ),
    versions: z
      .object({
        price: field.id('price').nullable(),
        markup: field.id('price').nullable(),
        exchange_rate: field.id('price').nullable(),
        operation: field.id('price').nullable(),
        policy: field.id('price').nullable(),
      })
      .meta({ description: 'The versions that were in force; null where none was needed or set' }),
  })
  .meta({ id: 'Quote' })

const idOrNull = (id: string | null | undefined) => (id === null || id === undefined ? null : toWireId('price', id))

/** A quote as a caller sees it. */
export function quoteToWire(quote: Quote): z.input<typeof quoteObject> {
  const { terms } = quote
  return {
    cost: formatCredits(costOf(quote)),
    exact: exactCredits({ n: BigInt(quote.n), d: BigInt(quote.d) }),
    residue: exactCredits(residueOf(quote)),
    minimum: formatCredits(BigInt(quote.min)),
    maximum: formatCredits(BigInt(terms.maximum)),
    exempt: quote.exempt,
    service_tier: quote.service_tier ?? 'standard',
    usage: quote.usage ?? null,
    units: quote.units ?? null,
    estimate: quote.estimate ?? null,
    credits_per_usd: terms.model?.credits_per_usd ?? null,
    lines: linesOf(quote).map((line) => ({
      item: line.item,
      pool: line.pool,
      priced_as: line.pricedAs,
      quantity: line.quantity,
      usd: line.usd,
      per: line.per,
      credits: exactCredits(line.micro),
    })),
    versions: {
      price: idOrNull(terms.model?.price),
      markup: idOrNull(terms.model?.markup),
      exchange_rate: idOrNull(terms.model?.rate),
      operation: idOrNull(terms.operation?.price),
      policy: idOrNull(terms.policy),
    },
  }
}
