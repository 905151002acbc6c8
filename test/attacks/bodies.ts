import { bodiesOf, type Things } from './things.ts'

const REASON = { reason: 'x' }

/** The owner of a wallet that has to be there. */
export const PAYEE = 'user:payee'

/** Of each route that takes a body, one that it would take. What is wrong in one place of it is refused because of that place. */
export function validBodies(things: Things): Readonly<Record<string, object>> {
  const named = Object.entries(bodiesOf(things, things.wallet)).map(([operation, [first]]) => [operation, first as object] as const)
  const cost = { wallet: things.wallet, amount: '1', reference: 'r', metadata: { a: 'b' } }
  const payees = [{ wallet: PAYEE, share: '0.5' }]
  return {
    ...Object.fromEntries(named),
    reserve: { ...cost, ttl_seconds: 60 },
    check: cost,
    charge: { ...cost, payees },
    commit: { amount: '1', final: false, payees },
    extend: { ttl_seconds: 60, add_amount: '1' },
    refund: { amount: '1', reference: 'r' },
    grant: { wallet: things.wallet, kind: 'bonus', amount: '1', cost_basis: { amount: '1', currency: 'USD' } },
    void: REASON,
    adjust: { wallet: things.wallet, amount: '1', ...REASON },
    batch: { commands: [{ operation: 'charge', idempotency_key: 'matrix', body: { wallet: things.wallet, amount: '1' } }] },
    reportEvents: { events: [{ source: 's', id: 'matrix', wallet: things.wallet, amount: '1' }] },
    openWallet: { owner: 'user:matrix', overdraft_limit: '1' },
    configureWallet: { label: 'matrix', overdraft_limit: '1' },
    freezeWallet: REASON,
    unfreezeWallet: REASON,
    closeWallet: REASON,
    quote: { operation: 'rag_retrieval', units: 1 },
    previewExchangeRate: { currency: 'USD', purpose: 'consumption', credits_per_unit: '2' },
    addPrice: {
      ...{ model: 'matrix', provider: 'acme', rates: { input_tokens: '1', output_tokens: '1' }, aliases: [{ equals: 'matrix-1' }] },
      ...{ variants: [{ above_prompt_tokens: 1_000, rates: { input_tokens: '2' } }], ...REASON },
    },
    addOperation: { operation: 'matrix', unit_cost: '1', ...REASON },
    addMarkup: { percent: '20', ...REASON },
    addExchangeRate: { currency: 'USD', purpose: 'consumption', credits_per_unit: '2', ...REASON },
    addChargePolicy: { minimum_charge: '0.01', maximum_charge: '100', ...REASON },
    importPrices: { format: 'litellm', document: '{}', ...REASON },
    acceptProposal: REASON,
    rejectProposal: REASON,
    dismissPaymentEvent: REASON,
    setBonusRule: { rule: 'matrix', kind: 'volume', currency: 'USD', percent: '5', ...REASON },
    addPromotion: { code: 'MATRIX', credits: '1', ...REASON },
    endPromotion: REASON,
    setPackage: { package: 'matrix', name: 'Matrix', price: '5.00', currency: 'USD', credits: '1', ...REASON },
    refundPayment: { amount: '1.00', ...REASON },
    setPlan: { plan: 'matrix', name: 'Matrix', price: '5.00', currency: 'USD', credits: '1', ...REASON },
    createClient: { name: 'matrix', ...REASON },
    createApiKey: { name: 'matrix', scopes: ['wallets:read'], ...REASON },
    revokeApiKey: REASON,
    issueToken: { sub: 'matrix' },
  }
}
