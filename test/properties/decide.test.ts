import { parseArgs } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { type RawList, rawLists } from './commands.ts'
import { Disagreement, runList, shrink, Tally } from './run-decide.ts'

/**
 * The decisions against the oracle, and any split into batches against the commands one by one, with no database.
 * By hand: `node test/properties/decide.test.ts --runs=10000`, `--seed=…` for the same lists again.
 */

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' }, length: { type: 'string' } }, strict: false })
const RUNS = Number(values.runs ?? 1_000)
const LENGTH = Number(values.length ?? 115)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)

/** Codes that a decision can give and this run cannot reach, with the reason. */
const OUT_OF_REACH: Record<string, string> = {
  too_many_grants: 'takes 1,000 grants; test/grants/issue.test.ts',
  idempotency_answer_expired: 'bodies are dropped after 30 days by a job; test/ledger',
}
/** Every code that a decision can refuse with. */
const CODES = [
  'balance_limit_exceeded',
  'charge_exceeds_maximum',
  'charge_free',
  'charge_not_found',
  'charge_refunded',
  'commit_exceeds_hold_factor',
  'grant_not_found',
  'grant_spent',
  'grant_times_invalid',
  'grant_voided',
  'idempotency_key_reused',
  'insufficient_credits',
  'model_disabled',
  'overdraft_limit_below_debt',
  'payee_closed',
  'payee_is_payer',
  'payee_not_found',
  'payee_share_exceeds_whole',
  'pool_unpriced',
  'rate_missing',
  'refund_exceeds_charge',
  'reservation_committed',
  'reservation_deadline_too_far',
  'reservation_expired',
  'reservation_not_found',
  'reservation_released',
  'service_tier_unpriced',
  'unknown_model',
  'unknown_operation',
  'usage_mismatch',
  'wallet_closed',
  'wallet_frozen',
  'wallet_not_empty',
  'wallet_not_found',
  ...Object.keys(OUT_OF_REACH),
]

t.setTimeout(0)

t.test('decisions agree with the oracle, and batches with commands one by one', async (t) => {
  const tally = new Tally()
  const started = performance.now()
  let number = 0
  let failed: { list: RawList; number: number; error: unknown } | null = null
  const sizes = [2, 7, 256, 0]
  const result = fc.check(
    fc.property(rawLists(LENGTH), (list) => {
      number += 1
      try {
        // One size a list; all of them for some.
        runList(list, number, number % 50 === 0 ? [1, ...sizes] : [sizes[number % sizes.length] as number], tally)
      } catch (error) {
        failed = { list, number, error }
        throw error
      }
    }),
    { seed: SEED, numRuns: RUNS, endOnFailure: true },
  )
  const seconds = (performance.now() - started) / 1000
  t.comment(
    `decide: seed ${SEED}: ${tally.lists} lists, ${tally.commands} commands (${tally.accepted} accepted, ${tally.replays} replays) in ${seconds.toFixed(1)} s; ${tally.splits} further runs in batches`,
  )
  t.comment(`decide: steps: ${tally.print(tally.verbs)}`)
  t.comment(`decide: refusals: ${tally.print(tally.codes)}`)
  t.comment(`decide: situations: ${tally.print(tally.shapes)}`)
  t.comment(`decide: prices: ${tally.print(tally.prices)}; ${tally.recomputed} quotes worked out again`)
  t.comment(`decide: batch sizes: ${tally.print(tally.batchSizes)}`)
  for (const [code, reason] of Object.entries(OUT_OF_REACH)) t.comment(`decide: out of reach: ${code}: ${reason}`)

  if (result.failed && failed) {
    const { list, number, error } = failed as { list: RawList; number: number; error: unknown }
    const attempt = (candidate: RawList): unknown => {
      try {
        runList(candidate, number, [1, 2, 7, 256, 0], new Tally())
        return null
      } catch (error) {
        return error
      }
    }
    const kind = (thrown: unknown) => (thrown instanceof Disagreement ? 'disagreement' : String(thrown))
    const least = attempt(shrink(list, (candidate) => kind(attempt(candidate)) === kind(error)))
    t.comment(`replay: --seed=${SEED} --runs=${number}`)
    t.comment(least instanceof Disagreement ? least.message : String((error as Error).stack))
    t.fail(least instanceof Disagreement ? (least.message.split('\n')[0] as string) : String(error))
    return
  }
  t.notOk(result.failed, `seed ${SEED}: no list goes wrong`)
  t.ok(tally.lists >= RUNS, `${RUNS} lists were run`)
  if (RUNS >= 1_000) {
    t.ok(tally.commands >= RUNS * 95, 'lists are as long as they should be')
    const unseen = CODES.filter((code) => !tally.codes.has(code) && !(code in OUT_OF_REACH))
    t.same(unseen, [], 'every refusal code was seen')
    t.same(
      [...tally.codes.keys()].filter((code) => !CODES.includes(code)),
      [],
      'and no other',
    )
  }
})
