import { Failure, note } from '../command.ts'
import { factorOf, fractionText, isSame, microOf, type PublishedTerms } from './expected.ts'
import { call, expect, forEach, type Target } from './service.ts'

/** What a replay needs of the service before the first row, and reads of it after the last. All of it can be done again. */

const OPEN_AT_ONCE = 32
const BATCH_MAX = 500
/** More than a token of any model costs. */
const PROBE_CREDITS = '10'

/**
 * Reads what a token costs. The list price is public and the markup and the rate are not, so one reservation is made, its frozen terms
 * are read, and it is released again. @throws Failure where list price and terms do not fit together
 */
export async function readTerms(target: Target, runId: string, model: string): Promise<PublishedTerms> {
  const { body } = await expect([200], 'Reading the models', call(target, 'GET', '/v1/models'))
  const models = body.data as { id: string; input_usd_per_million: string; output_usd_per_million: string }[]
  const price = models.find(({ id }) => id === model)
  if (!price) throw new Failure(`There is no price for model ${model}. There are: ${models.map(({ id }) => id).join(', ')}`)

  const wallet = await openWallet(target, `replay:${runId}-probe`)
  await fundWallets(target, `${runId}:probe`, [wallet], PROBE_CREDITS)
  const asked = { wallet, model, usage: { input_tokens: 1, output_tokens: 1 } }
  const probe = await expect(
    [201],
    'Reserving to learn the price',
    call(target, 'POST', '/v1/reservations', asked, `${runId}:probe:reserve`),
  )
  const path = `/v1/reservations/${String(probe.body.id)}`
  const read = await expect([200], 'Reading the price', call(target, 'GET', path))
  await call(target, 'POST', `${path}/release`, {}, `${runId}:probe:release`)

  const { terms } = read.body.quote as { terms: { minimum: string; model: { input: string; output: string } } }
  const factors = [factorOf(terms.model.input, price.input_usd_per_million), factorOf(terms.model.output, price.output_usd_per_million)]
  const [first, second] = factors.filter((factor) => factor !== null)
  if (first && second && !isSame(first, second)) {
    throw new Failure(
      `The terms of ${model} do not fit its list price: input is ${fractionText(first)} times, output ${fractionText(second)} times.`,
    )
  }
  if (first) {
    const list = `$${price.input_usd_per_million} and $${price.output_usd_per_million} a million tokens`
    note(`${model}: ${list}, at ${fractionText(first)} credits a dollar with the markup`)
  }
  return { input: terms.model.input, output: terms.model.output, minimum: terms.minimum }
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
