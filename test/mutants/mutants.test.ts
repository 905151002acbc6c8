/**
 * The mutants of `mutants.ts` have to die of the tests that they name. In a run of the suite: their texts are still found once, and the
 * fast ones really die. All of them, with each killer also run on the unchanged source, takes about a quarter of an hour:
 *
 *   npm run prove:mutants [-- --name='part of a name']
 */
import { parseArgs } from 'node:util'
import t from 'tap'
import { copyTree, occurrences } from './kill.ts'
import { MUTANTS } from './mutants.ts'

const { values } = parseArgs({ options: { all: { type: 'boolean' }, name: { type: 'string' } }, strict: false })
const isLong = values.all === true
const asked = MUTANTS.filter(({ name, fast }) => (isLong || fast) && name.includes(String(values.name ?? '')))

t.setTimeout(isLong ? 0 : 300_000)

t.test('every mutant still has a place', async (t) => {
  for (const mutant of MUTANTS) {
    const counts = occurrences(mutant)
    t.ok(
      counts.every((count) => count === 1),
      `${mutant.name}: found ${counts.join(', ')} times`,
    )
  }
  t.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length, 'no two have one name')
})

t.test('mutants die', async (t) => {
  const tree = await copyTree()
  t.teardown(() => tree.remove())
  const sound = new Set<string>()
  let killed = 0
  for (const mutant of asked) {
    const killer = mutant.killer.join(' ')
    // A test that fails anyway kills nothing. The suite itself has shown so of the fast ones.
    if (isLong && !sound.has(killer)) {
      const unharmed = await tree.run(null, mutant.killer)
      t.notOk(unharmed.failed, `${killer} holds on the source as it is`, { of: unharmed.of })
      sound.add(killer)
    }
    const death = await tree.run(mutant, mutant.killer)
    t.ok(death.killed, `dies: ${mutant.name}`)
    if (death.killed) killed += 1
    t.comment(`${death.killed ? 'killed' : 'SURVIVED'} in ${(death.ms / 1000).toFixed(1)} s: ${mutant.name}; ${killer}: ${death.of}`)
  }
  t.ok(asked.length > 0, 'there was one to kill')
  t.comment(`mutants: ${asked.length} of ${MUTANTS.length} run, ${killed} killed, ${asked.length - killed} survived`)
})
