import { settle } from '../grants/settle.ts'
import type { Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import { toWireId } from '../kernel/ids.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { ownerOf, type Wallet } from '../ledger/wallet.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { type CostRequest, costOf, exceedsMaximum, quoteWhole } from '../pricing/quote.ts'
import { isExempt, NO_SUBJECT, termsAt } from '../pricing/terms.ts'
import { type Charge, type Payee, SHARE_WHOLE_PPM } from './charge.ts'
import { type ChargeDetails, collect } from './collect.ts'
import { forced } from './force.ts'

export interface ChargeOnceInput extends Omit<ChargeDetails, 'payees'> {
  readonly walletId: string | undefined
  readonly cost: CostRequest
  readonly resourceOwner: string | null
  /** Payees as the lane located them; undefined where there is no such wallet. */
  readonly payees: readonly { readonly walletId: string | undefined; readonly sharePpm: bigint }[]
  readonly force: boolean
  readonly shortfall: 'refuse' | 'record'
}

/** Charges a wallet at once, without a reservation. */
export function chargeOnce(
  draft: Draft,
  input: ChargeOnceInput,
  prices: PriceBook,
): Outcome<{ charge: Charge; wallet: Wallet; debtAdded: Micro }> {
  const wallet = draft.findWallet(input.walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet takes no charges.'))
  if (wallet.status === 'frozen' && input.shortfall === 'refuse') {
    return refuse(refusal('wallet_frozen', 'A frozen wallet takes no new charges.'))
  }
  const payees = findPayees(draft, wallet.id, input.payees)
  if (!payees.ok) return payees
  settle(draft, wallet.id)

  const request = input.cost
  const terms = termsAt(prices, draft.now, request.amount === undefined ? request : NO_SUBJECT)
  if (!terms.ok) return terms
  const priced = quoteWhole(terms.value, request, isExempt(prices, draft.now, input.resourceOwner, ownerOf(wallet)))
  if (!priced.ok) return priced
  const quote = priced.value
  const cost = costOf(quote)
  if (exceedsMaximum(terms.value, cost) && !forced(draft, input.force, cost)) {
    return refuse(refusal('charge_exceeds_maximum', 'The cost exceeds the largest charge of the policy; an admin may force it.'))
  }
  const result = collect(draft, {
    ...input,
    walletId: wallet.id,
    payees: payees.value,
    cost,
    quote,
    reservationId: null,
    pins: [],
    final: true,
    late: false,
  })
  if (!result.ok) return result
  return done({ charge: result.value.charge, debtAdded: result.value.debtAdded, wallet: draft.wallet(wallet.id) })
}

/** Payees must be open wallets that the speaker may reach, none of them the payer, and share no more than the whole. */
export function findPayees(
  draft: Draft,
  payerId: string,
  payees: readonly { readonly walletId: string | undefined; readonly sharePpm: bigint }[],
): Outcome<Payee[]> {
  const found: Payee[] = []
  let total = 0n
  for (const { walletId, sharePpm } of payees) {
    const wallet = draft.findWallet(walletId)
    if (!wallet) return refuse(refusal('payee_not_found', 'No wallet of yours has the id or owner of a payee.'))
    if (wallet.status === 'closed') return refuse(refusal('payee_closed', `Wallet ${toWireId('wallet', wallet.id)} is closed.`))
    if (wallet.id === payerId) return refuse(refusal('payee_is_payer', 'The payer cannot share in its own charge.'))
    found.push({ walletId: wallet.id, sharePpm })
    total += sharePpm
  }
  if (total > SHARE_WHOLE_PPM) return refuse(refusal('payee_share_exceeds_whole', 'The shares add up to more than 1.'))
  return done(found)
}
