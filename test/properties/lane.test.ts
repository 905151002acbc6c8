import { parseArgs } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { verify } from '../../src/ledger/verify-pg.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { rawLists } from './commands.ts'
import { Disagreement, Tally } from './run-decide.ts'
import { openStage, playAlone, playTogether } from './run-lane.ts'

/**
 * The oracle against the whole lane on PostgreSQL. Full size, as the issue asks for it (1,000 lists of 100 commands):
 * `npm test -- test/properties/lane.test.ts --timeout=0 --test-arg=--runs=1000`; `--test-arg=--seed=…` repeats a run.
 */

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const RUNS = Number(values.runs ?? 120)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const LENGTH = 116
/** Lists that are played at the same time: each waits for its answers, together they fill the batches. */
const PLAYERS = 64
const TOGETHER = 10

function report(t: Test, tally: Tally, started: number): void {
  const seconds = (performance.now() - started) / 1000
  const rate = Math.round(tally.commands / seconds)
  t.comment(
    `lane: seed ${SEED}: ${tally.lists} lists, ${tally.commands} commands (${tally.accepted} accepted, ${tally.replays} replays) in ${seconds.toFixed(1)} s, ${rate} a second`,
  )
  t.comment(`lane: steps: ${tally.print(tally.verbs)}`)
  t.comment(`lane: refusals: ${tally.print(tally.codes)}`)
  t.comment(`lane: batch sizes: ${tally.print(tally.batchSizes)}`)
}

t.setTimeout(0)

t.test('the lane on PostgreSQL agrees with the oracle', async (t) => {
  const { url } = await createTestDatabase(t)
  const tally = new Tally()
  const stage = openStage(url, 2, tally)
  const started = performance.now()
  const lists = fc.sample(rawLists(LENGTH), { seed: SEED, numRuns: RUNS })
  const failures: string[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: PLAYERS }, async () => {
      while (next < lists.length && failures.length === 0) {
        const number = next
        next += 1
        try {
          await playAlone(stage, lists[number] as (typeof lists)[number], number, tally)
        } catch (error) {
          failures.push(`list ${number}: ${error instanceof Disagreement ? error.message : String((error as Error).stack)}`)
        }
      }
    }),
  )
  await stage.close()
  report(t, tally, started)
  for (const failure of failures) t.comment(failure)
  t.same(failures.length, 0, `seed ${SEED}: no list goes wrong`)
  t.ok(tally.commands >= RUNS * 95, 'lists are as long as they should be')

  const findings = await verify(url)
  t.comment(`lane: farebox verify: ${findings.length} invariants in ${Math.round(findings.reduce((ms, finding) => ms + finding.ms, 0))} ms`)
  t.same(
    findings
      .filter((finding) => finding.broken > 0)
      .map(({ id, says, broken, examples }) => `${id} ${says}: ${broken} (${examples.join(', ')})`),
    [],
    'every invariant holds in the database',
  )
})

t.test('through the lane, batches of any size answer and leave the same', async (t) => {
  const { url } = await createTestDatabase(t)
  const tally = new Tally()
  // One batch at a time: what is queued first is decided first.
  const stage = openStage(url, 1, tally)
  const started = performance.now()
  const groups = Math.max(1, Math.round(RUNS / 125))
  let number = 0
  for (let group = 0; group < groups; group += 1) {
    const lists = fc.sample(rawLists(LENGTH), { seed: SEED + group + 1, numRuns: TOGETHER })
    let reference: string[] | null = null
    for (const size of [1, 2, 7, 256, 0]) {
      const numbers = lists.map(() => number++)
      try {
        const results = await playTogether(stage, lists, numbers, size, tally)
        reference ??= results
        const differs = results.findIndex((result, index) => result !== reference?.[index])
        if (differs >= 0) {
          const [one, many] = [reference[differs]?.split('\n') ?? [], results[differs]?.split('\n') ?? []]
          const line = one.findIndex((text, index) => text !== many[index])
          t.comment(`list ${differs}, line ${line}:\n  alone    ${one[line]}\n  in batch ${many[line]}`)
          t.fail(`batches of ${size || 'random size'} differ from single commands`)
        }
      } catch (error) {
        t.comment(error instanceof Disagreement ? error.message : (error as Error).stack)
        t.fail(`batches of ${size || 'random size'}: ${(error as Error).message.split('\n')[0]}`)
      }
    }
  }
  await stage.close()
  report(t, tally, started)
  t.equal(tally.lists, groups * TOGETHER * 5, 'every group was played in every size')
})
