import { Failure, note } from '../command.ts'
import { microOf, type PublishedTerms } from './expected.ts'
import { call, expect, forEach, type Target } from './service.ts'

/** What a replay needs of the service before the first row, and reads of it after the last. All of it can be done again. */

const OPEN_AT_ONCE = 32
const BATCH_MAX = 500

/** Reads what a model costs. @throws Failure where it has no price, or one that depends on more than its tokens */
export async function readTerms(target: Target, model: string): Promise<PublishedTerms> {
  const asked = { model, usage: { input_tokens: 1, output_tokens: 1 } }
  const { status, body } = await expect([200, 422], 'Asking for the price', call(target, 'POST', '/v1/quotes', asked))
  if (status === 422) throw new Failure(`${String(body.detail)} GET /v1/models lists those that have one.`)
  const lines = body.lines as { pool: string; usd: string }[]
  const usdOf = (pool: string) => lines.find((line) => line.pool === pool)?.usd ?? '0'
  const terms = {
    inputUsd: usdOf('input_tokens'),
    outputUsd: usdOf('output_tokens'),
    creditsPerUsd: String(body.credits_per_usd),
    minimum: String(body.minimum),
  }
  if (lines.length > 2) throw new Failure(`Model ${model} costs more than its tokens, which a trace does not tell.`)
  note(`${model}: $${terms.inputUsd} and $${terms.outputUsd} a million tokens, at ${terms.creditsPerUsd} credits a dollar with the markup`)
  return terms
}

/** Opens the wallets of a run, or finds those that an earlier start of the same run opened. @returns their ids */
export async function openWallets(target: Target, runId: string, count: number): Promise<string[]> {
  const ids = new Array<string>(count)
  await forEach(count, OPEN_AT_ONCE, async (index) => {
    ids[index] = await openWallet(target, `replay:${runId}-${index}`)
  })
  return ids
}

async function openWallet(target: Target, owner: string): Promise<string> {
  const { status, body } = await expect([201, 409], 'Opening a wallet', call(target, 'POST', '/v1/wallets', { owner }))
  return String(status === 201 ? body.id : body.wallet_id)
}

/** Grants each wallet the same credits, once in a run. @throws Failure where a grant is refused */
export async function fundWallets(target: Target, runId: string, wallets: readonly string[], amount: string): Promise<void> {
  const commands = wallets.map((wallet, index) => ({
    operation: 'grant',
    idempotency_key: `${runId}:${index}:grant`,
    body: { wallet, kind: 'purchase', amount, source: 'farebox replay' },
  }))
  for (let from = 0; from < commands.length; ) {
    const chunk = commands.slice(from, from + BATCH_MAX)
    const { body } = await expect([200], 'Granting credits', call(target, 'POST', '/v1/batch', { commands: chunk }))
    const results = body.results as { status: number; body: { code?: string; detail?: string; retryable?: boolean } }[]
    const refused = results.find((result) => result.status !== 201 && result.body.retryable !== true)
    if (refused) throw new Failure(`Granting credits: ${refused.body.code}: ${refused.body.detail}`)
    // What was not done for lack of time is asked for again; what was done replays.
    if (results.every((result) => result.status === 201)) from += BATCH_MAX
  }
}

export async function balanceOf(target: Target, wallet: string): Promise<{ balance: bigint; held: bigint }> {
  const { body } = await expect([200], 'Reading a wallet', call(target, 'GET', `/v1/wallets/${wallet}`))
  return { balance: microOf(String(body.balance)), held: microOf(String(body.held)) }
}
