import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { verify } from '../../src/ledger/verify-pg.ts'
import type { Random } from '../helpers/random.ts'
import { compare } from './book.ts'
import { type Entry, Journal, readJournal, type Told } from './journal.ts'
import { createSender, type Sender } from './sender.ts'

/**
 * The end of every fault: whatever has no answer is asked again with its key until it has one, the whole journal is held against the
 * database, answers are asked for a second time, and every invariant has to hold.
 */

export interface Settled {
  readonly acknowledged: number
  readonly refused: number
  readonly lost: number
  readonly doubled: number
  readonly wrong: number
  /** Commands that nobody knew the outcome of, and how many of them turned out to have been carried out. */
  readonly info: number
  readonly infoDone: number
  readonly resolved: number
  /** Answers asked for again, and how many were the same byte for byte and said that they were repeated. */
  readonly replays: number
  readonly identical: number
}

export interface SettleOptions {
  readonly url: string
  readonly bases: readonly string[]
  readonly key: string
  readonly file: string
  readonly run: string
  readonly random: Random
  /** How many answers are asked for again, beside those that were unknown. */
  readonly replays?: number
}

const REPLAYS = 500
const AT_ONCE = 16
const PAUSE_MS = 100
/** Nothing is broken any more by now. */
const DEFINITE_MS_MAX = 30_000
/** How many of a kind are named. */
const NAMED_MAX = 5

/** Settles a journal, and asserts that nothing was lost, doubled or altered. */
export async function settle(t: Test, options: SettleOptions): Promise<Settled> {
  const { url, bases, key, file, run, random, replays = REPLAYS } = options
  const sender = createSender(key, AT_ONCE)
  try {
    const unknown: Entry[] = []
    const sample: Entry[] = []
    let read = 0
    for await (const entry of readJournal(file)) {
      if (!entry.told) {
        unknown.push(entry)
        continue
      }
      // Reservoir sampling: each as likely as any other.
      read += 1
      const at = random.below(read)
      if (sample.length < replays) sample.push(entry)
      else if (at < replays) sample[at] = entry
    }

    const journal = new Journal(file)
    let infoDone = 0
    const resolved: Entry[] = []
    await inParallel(unknown, async (entry) => {
      const told = await askUntilTold(sender, bases, entry)
      journal.told(entry.id, told)
      resolved.push({ ...entry, told })
      if (told.replayed) infoDone += 1
    })
    journal.close()
    t.equal(resolved.length, unknown.length, `every unknown outcome is known: ${resolved.length} of ${unknown.length}`)

    const again = [...sample, ...resolved]
    let identical = 0
    await inParallel(again, async (entry) => {
      const told = await askUntilTold(sender, bases, entry)
      if (told.replayed && told.status === entry.told?.status && told.text === entry.told.text) identical += 1
    })
    t.equal(identical, again.length, 'every answer that was asked for again is the same, byte for byte')

    const { acknowledged, refused, lost, doubled, wrong } = await compare(url, run, readJournal(file))
    for (const [what, names] of Object.entries({ lost, doubled, wrong })) {
      t.equal(names.length, 0, `${what} 0${names.length > 0 ? `: ${names.slice(0, NAMED_MAX).join(', ')}` : ''}`)
    }
    const findings = await verify(url)
    t.equal(findings.length, INVARIANTS.length, 'every invariant was looked at')
    t.same(
      findings.filter(({ broken }) => broken > 0).map(({ id, broken, examples }) => `${id}: ${broken} (${examples[0]})`),
      [],
      'and holds',
    )
    return {
      ...{ acknowledged, refused, lost: lost.length, doubled: doubled.length, wrong: wrong.length },
      ...{ info: unknown.length, infoDone, resolved: resolved.length, replays: again.length, identical },
    }
  } finally {
    await sender.close()
  }
}

/** `seed 7, 1200 operations, 1180 acknowledged, …` */
export function settledText(seed: number, settled: Settled): string {
  const { acknowledged, refused, lost, doubled, wrong, info, infoDone, resolved, replays, identical } = settled
  return [
    `seed ${seed}, ${acknowledged + refused} operations, ${acknowledged} acknowledged, ${refused} refused`,
    `lost ${lost}, doubled ${doubled}, wrong ${wrong}`,
    `info ${resolved}/${info} (${infoDone} had been done), replays identical ${identical}/${replays}`,
  ].join(', ')
}

async function askUntilTold(sender: Sender, bases: readonly string[], entry: Entry): Promise<Told> {
  const until = performance.now() + DEFINITE_MS_MAX
  for (let tries = 0; ; tries += 1) {
    const reply = await sender.send(bases[(entry.id + tries) % bases.length] as string, entry)
    if (reply.told) return reply.told
    if (performance.now() > until) throw new Error(`${entry.operation} ${entry.key} gets no definite answer: ${reply.why}`)
    await sleep(PAUSE_MS)
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < items.length) await work(items[next++] as T)
    }),
  )
}
