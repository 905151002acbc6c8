import { z } from 'zod'
import * as p from '../params.ts'
import { priceData } from './prices.ts'

export const lineItem = z.strictObject({
  price: p.text.optional(),
  price_data: priceData.optional(),
  quantity: p.integer.optional(),
  adjustable_quantity: p.ignored.optional(),
})

export const sessionShape = {
  mode: z.enum(['payment', 'setup', 'subscription']),
  line_items: z.array(lineItem).optional(),
  customer: p.text.optional(),
  customer_email: p.text.optional(),
  customer_creation: z.enum(['always', 'if_required']).optional(),
  client_reference_id: p.text.optional(),
  currency: p.currency.optional(),
  metadata: p.metadata.optional(),
  success_url: p.text.optional(),
  return_url: p.text.optional(),
  cancel_url: p.text.optional(),
  ui_mode: z.enum(['elements', 'embedded_page', 'form', 'hosted_page']).optional(),
  expires_at: p.integer.optional(),
  payment_method_types: z.array(z.enum(['card', 'sepa_debit', 'link'])).optional(),
  payment_intent_data: z
    .strictObject({
      description: p.text.optional(),
      metadata: p.metadata.optional(),
      receipt_email: p.text.optional(),
      setup_future_usage: z.enum(['on_session', 'off_session']).optional(),
      statement_descriptor_suffix: p.ignored.optional(),
    })
    .optional(),
  subscription_data: z
    .strictObject({
      description: p.text.optional(),
      metadata: p.metadata.optional(),
      billing_mode: z
        .strictObject({
          type: z.literal('flexible'),
          flexible: z.strictObject({ proration_discounts: z.enum(['included', 'itemized']) }).optional(),
        })
        .optional(),
    })
    .optional(),
  setup_intent_data: z.strictObject({ description: p.ignored.optional(), metadata: p.metadata.optional() }).optional(),
  saved_payment_method_options: p.ignored.optional(),
  customer_update: p.ignored.optional(),
  billing_address_collection: p.ignored.optional(),
  payment_method_collection: p.ignored.optional(),
  allow_promotion_codes: p.ignored.optional(),
  adaptive_pricing: z.strictObject({ enabled: z.literal('false') }).optional(),
  automatic_tax: z.strictObject({ enabled: z.literal('false') }).optional(),
  submit_type: p.ignored.optional(),
  locale: p.ignored.optional(),
}

export type SessionParams = z.output<z.ZodObject<typeof sessionShape>>
