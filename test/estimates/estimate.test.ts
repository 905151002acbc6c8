import { registerHooks } from 'node:module'
import { mock } from 'node:test'
import t from 'tap'
import type { Counter, StartCounter } from '../../src/estimates/counter.ts'
import type { Encoding } from '../../src/estimates/encoding.ts'

const loaded: string[] = []
registerHooks({
  resolve(specifier, context, next) {
    if (specifier.startsWith('gpt-tokenizer')) loaded.push(specifier)
    return next(specifier, context)
  },
})
// After the hook, so that it sees what these load.
const { createEstimator, TEXT_LENGTH_MAX } = await import('../../src/estimates/estimate.ts')
const { startCounterThread } = await import('../../src/estimates/counter-thread.ts')

/** Counters that count nothing until they are told to. */
class Bench {
  readonly started: Encoding[] = []
  readonly stopped: Encoding[] = []
  readonly warnings: { encoding?: Encoding; err: Error }[] = []
  readonly waiting: PromiseWithResolvers<number>[] = []
  /** What the next counters do at their start. */
  startFails: Error | null = null

  readonly start: StartCounter = (encoding): Counter => {
    this.started.push(encoding)
    if (this.startFails !== null) throw this.startFails
    return {
      count: () => {
        const answer = Promise.withResolvers<number>()
        this.waiting.push(answer)
        return answer.promise
      },
      stop: async () => {
        this.stopped.push(encoding)
        this.fail(new Error('stopped'))
      },
    }
  }

  readonly estimator = createEstimator(this.start, { warn: (fields) => this.warnings.push(fields as { err: Error }) })

  answer(tokens: number): void {
    for (const { resolve } of this.waiting.splice(0)) resolve(tokens)
  }

  fail(error: Error): void {
    for (const { reject } of this.waiting.splice(0)) reject(error)
  }

  count(text: string, model = 'gpt-4o') {
    return this.estimator.countTokens(model, null, text)
  }
}

t.test('counts in a thread, by the encoding of the model, and says how', async (t) => {
  const started: Encoding[] = []
  const start: StartCounter = (encoding) => {
    started.push(encoding)
    return startCounterThread(encoding)
  }
  const estimator = createEstimator(start, { warn: (fields) => t.fail('a warning', fields) })
  t.same(started, [], 'no thread before the first text')

  const text = 'Привет, мир! Как дела?'
  const both = ['gpt-4o', 'gpt-4', 'claude-sonnet-4-5', 'gpt-5', 'gpt-3.5-turbo', 'gpt-4o']
  const estimates = await Promise.all(both.map((model) => estimator.countTokens(model, null, text)))
  t.same(estimates, [
    { tokens: 8, method: 'tokenizer' },
    { tokens: 12, method: 'tokenizer' },
    { tokens: 8, method: 'approximate' },
    { tokens: 8, method: 'tokenizer' },
    { tokens: 12, method: 'tokenizer' },
    { tokens: 8, method: 'tokenizer' },
  ])
  t.same(started, ['o200k_base', 'cl100k_base'], 'one thread an encoding, though six asked at once')
  t.same(loaded, [], 'this thread, which serves requests, never loads the tokenizer')

  const count = (text: string) => estimator.countTokens('gpt-4o', 'openai', text)
  t.same(await count(''), { tokens: 0, method: 'tokenizer' })
  t.same(await count('<|endoftext|>'), { tokens: 7, method: 'tokenizer' })
  t.same(await count('\0\ud800 \udc00'), { tokens: 3, method: 'tokenizer' })
  t.same(await count('a'.repeat(TEXT_LENGTH_MAX)), { tokens: TEXT_LENGTH_MAX / 8, method: 'tokenizer' })
  t.same(await count('a'.repeat(TEXT_LENGTH_MAX + 1)), { tokens: TEXT_LENGTH_MAX / 4 + 1, method: 'characters' }, 'too long to count')
  t.same(await count('x'.repeat(2 ** 20)), { tokens: 2 ** 18, method: 'characters' })

  const cut = count('a'.repeat(TEXT_LENGTH_MAX))
  await estimator.close()
  t.same(await cut, { tokens: TEXT_LENGTH_MAX / 4, method: 'characters' }, 'closed while it counted')
  t.same(await count('after'), { tokens: 2, method: 'characters' })
  t.equal(started.length, 2)
})

t.test('a thread that cannot load its vocabulary fails what it was asked', async (t) => {
  const counter = startCounterThread('no_such_encoding' as Encoding)
  await t.rejects(counter.count('a'), /no_such_encoding/)
  await t.rejects(counter.count('b'), /no_such_encoding/, 'and whatever is asked later')
  await counter.stop()
})

t.test('a stopped thread fails what it was asked', async (t) => {
  const counter = startCounterThread('cl100k_base')
  const asked = counter.count('a')
  await Promise.all([t.rejects(asked, /stopped/), counter.stop()])
  await t.rejects(counter.count('b'), /stopped/)
})

t.test('falls back to a quarter of the bytes while a counter cannot be loaded, and tries again later', async (t) => {
  const bench = new Bench()
  let now = 1_000_000
  t.intercept(performance, 'now', { value: () => now })
  const rough = { tokens: 2, method: 'characters' }

  const [first, second] = [bench.count('hello'), bench.count('12345678')]
  bench.fail(new Error('no such file'))
  t.same(await Promise.all([first, second]), [rough, rough])
  t.match(bench.warnings, [{ encoding: 'o200k_base', err: { message: 'no such file' } }], 'said once')
  t.equal(bench.warnings.length, 1)
  t.same(bench.stopped, ['o200k_base'])

  t.same(await bench.count('世界'), rough, 'in bytes, since one Chinese character is about a token')
  now += 29_999
  t.same(await bench.count('hello'), rough)
  t.same(bench.started, ['o200k_base'], 'not tried again yet')

  now += 1
  bench.startFails = new Error('no more threads')
  t.same(await bench.count('hello'), rough)
  t.equal(bench.started.length, 2)
  t.equal(bench.warnings.length, 2)

  now += 30_000
  bench.startFails = null
  const counted = bench.count('hello')
  bench.answer(1)
  t.same(await counted, { tokens: 1, method: 'tokenizer' }, 'as soon as it can be loaded')
  t.same(bench.started, ['o200k_base', 'o200k_base', 'o200k_base'])
})

t.test('one encoding that fails leaves the other alone', async (t) => {
  const bench = new Bench()
  const failed = bench.count('hello')
  bench.fail(new Error('no such file'))
  t.match(await failed, { method: 'characters' })
  const counted = bench.count('hello', 'gpt-4')
  bench.answer(1)
  t.same(await counted, { tokens: 1, method: 'tokenizer' })
})

t.test('gives up a counter that does not answer', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const bench = new Bench()
  const [first, second] = [bench.count('hello'), bench.count('hello')]
  mock.timers.tick(10_000)
  t.match(await Promise.all([first, second]), [{ method: 'characters' }, { method: 'characters' }])
  t.match(bench.warnings, [{ err: { message: /10000 ms/ } }])
  t.same(bench.stopped, ['o200k_base'], 'and its thread')
})

t.test('lets no more wait than is soon counted', async (t) => {
  const long = new Bench()
  const texts = Array.from({ length: 4 }, () => long.count('a'.repeat(TEXT_LENGTH_MAX)))
  t.match(await long.count('one more'), { method: 'characters' })
  const other = long.count('hello', 'gpt-4')
  long.answer(7)
  t.match(await Promise.all([...texts, other]), Array(5).fill({ tokens: 7, method: 'tokenizer' }), "the other encoding's queue is its own")
  const later = long.count('one more')
  long.answer(2)
  t.match(await later, { tokens: 2, method: 'tokenizer' }, 'there is room again')

  const many = new Bench()
  const short = Array.from({ length: 1_025 }, () => many.count(''))
  many.answer(0)
  const methods = (await Promise.all(short)).map(({ method }) => method)
  t.equal(methods.filter((method) => method === 'characters').length, 1, 'texts are bounded in number as well')
})
