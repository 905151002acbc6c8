import t from 'tap'
import type { Alias, ModelPrice, PriceBook } from '../../src/pricing/prices.ts'
import { resolveModel, weightOf } from '../../src/pricing/resolve.ts'
import { termsAt } from '../../src/pricing/terms.ts'
import { bookOf, MARKUP, modelPrice, POLICY, RATE, START } from '../helpers/decide.ts'

const FUTURE = START + 1_000

function price(model: string, provider: string, aliases: readonly Alias[] = [], said: Partial<ModelPrice> = {}): ModelPrice {
  return modelPrice(model, { id: `${model} 1`, provider, aliases, ...said })
}

function book(...models: ModelPrice[]): PriceBook {
  return bookOf({ models, markups: [MARKUP], rates: [RATE], policies: [POLICY] })
}

/** One model as its maker and as two others serve it, and models whose names begin alike. */
const BOOK = book(
  price('gpt-4o', 'openai', [{ equals: 'gpt-4o-2024-08-06' }, { startsWith: 'chatgpt-' }]),
  price('gpt-4o-mini', 'openai', [{ startsWith: 'gpt-4o-mini-' }]),
  price('azure/gpt-4o', 'azure', [{ equals: 'gpt-4o-2024-11-20' }, { startsWith: 'gpt-4o-eu' }]),
  price('openrouter/openai/gpt-4o', 'openrouter'),
  price('gemini-2.5-pro', 'google', [{ all: [{ startsWith: 'gemini-2.5-pro-' }, { contains: 'preview' }] }]),
  price('gemini-2.5', 'google', [{ startsWith: 'gemini-2.5-' }]),
  price('claude-sonnet', 'anthropic', [{ contains: 'sonnet' }, { endsWith: '-latest' }]),
  price('claude-sonnet-4', 'anthropic', [{ regex: '^claude-sonnet-4-\\d{8}$' }, { startsWith: 'claude-sonnet-4' }]),
  price('Mixed-Case', 'acme', [{ equals: 'Nick-Name' }, { equals: 'lower-name' }]),
  price('retired', 'acme', [{ equals: 'old-friend' }], { enabled: false }),
  price('odd:id/with/slashes', 'acme'),
  price('acme', 'acme', [{ equals: 'acme/itself' }, { startsWith: 'house/' }]),
)

const CASES: readonly (readonly [of: string, name: string, provider: string | null, model: string | undefined])[] = [
  ['its own name', 'gpt-4o', null, 'gpt-4o'],
  ['its own name with its provider', 'gpt-4o', 'openai', 'gpt-4o'],
  ['the same name with who else serves it', 'gpt-4o', 'azure', 'azure/gpt-4o'],
  ['provider/name is an id of its own', 'azure/gpt-4o', null, 'azure/gpt-4o'],
  ['with the provider said once more', 'azure/gpt-4o', 'azure', 'azure/gpt-4o'],
  ['provider/name of the maker means its bare name', 'openai/gpt-4o', null, 'gpt-4o'],
  ['a provider that does not serve it', 'gpt-4o', 'google', undefined],
  ['a provider that nobody knows', 'gpt-4o', 'nobody', undefined],
  ['a prefix that nobody knows', 'nobody/gpt-4o', null, undefined],
  ['somebody else’s model under the name of another', 'azure/gpt-4o', 'openai', undefined],
  ['a provider in front of a provider', 'openrouter/openai/gpt-4o', null, 'openrouter/openai/gpt-4o'],
  ['the same in two parts', 'openai/gpt-4o', 'openrouter', 'openrouter/openai/gpt-4o'],
  ['slashes and colons of its own', 'odd:id/with/slashes', null, 'odd:id/with/slashes'],

  ['an alias', 'gpt-4o-2024-08-06', null, 'gpt-4o'],
  ['an alias with the provider', 'gpt-4o-2024-08-06', 'openai', 'gpt-4o'],
  ['an alias after the provider’s name', 'openai/gpt-4o-2024-08-06', null, 'gpt-4o'],
  ['an alias of what only others serve needs them', 'gpt-4o-2024-11-20', null, undefined],
  ['and is found with them', 'gpt-4o-2024-11-20', 'azure', 'azure/gpt-4o'],
  ['before a slash too', 'azure/gpt-4o-2024-11-20', null, 'azure/gpt-4o'],
  ['an alias of one provider is none of another', 'gpt-4o-2024-08-06', 'azure', undefined],
  ['an alias with a slash of its own, that begins with a provider', 'acme/itself', null, 'acme'],
  ['an alias with a slash of its own, that begins with nobody', 'house/itself', null, 'acme'],
  ['an end is no path: somebody else may serve a model of that name', 'nobody/claude-latest', null, undefined],
  ['a part of a name neither', 'nobody/my-sonnet-9', null, undefined],
  ['but within a provider they count', 'anthropic/my-sonnet-9', null, 'claude-sonnet'],

  ['another spelling of a provider', 'gpt-4o', 'azure_text', 'azure/gpt-4o'],
  ['before a slash', 'gemini/gemini-2.5-pro', null, 'gemini-2.5-pro'],
  ['with an alias', 'gemini-2.5-pro-exp', 'gemini', 'gemini-2.5'],

  ['another date is another price', 'gpt-4o-2024-05-13', null, undefined],
  ['another version is another price', 'gpt-4o-v2', null, undefined],
  ['nor is the end of a name dropped', 'gpt-4o:free', null, undefined],
  ['nor its beginning', 'ft:gpt-4o', null, undefined],
  ['a name that is longer by a slash', 'gpt-4o/', null, undefined],

  ['all that begins so', 'chatgpt-4o-latest-2025', null, 'gpt-4o'],
  ['but not the beginning itself cut short', 'chatgpt', null, undefined],
  ['the longer beginning counts', 'gpt-4o-mini-2024-07-18', null, 'gpt-4o-mini'],
  ['all parts together say more than one: 15 + 7 over 11', 'gemini-2.5-pro-preview-05-06', null, 'gemini-2.5-pro'],
  ['where one part is missing the shorter alias counts', 'gemini-2.5-pro-exp', null, 'gemini-2.5'],
  ['a pattern that pins down more', 'claude-sonnet-4-20250514', null, 'claude-sonnet-4'],
  ['a beginning of 15 over a part of 6', 'claude-sonnet-4-5', null, 'claude-sonnet-4'],
  ['a part of the name', 'my-sonnet-9', null, 'claude-sonnet'],
  ['an end', 'claude-latest', null, 'claude-sonnet'],
  ['an end in the middle is none', 'claude-latest-2', null, undefined],

  ['how it was reached is no part of the name', 'models/gemini-2.5-pro', null, 'gemini-2.5-pro'],
  ['with its provider', 'models/gemini-2.5-pro', 'google', 'gemini-2.5-pro'],
  ['after its provider', 'google/models/gemini-2.5-pro', null, 'gemini-2.5-pro'],
  ['with an alias', 'models/gemini-2.5-pro-preview-05-06', null, 'gemini-2.5-pro'],
  ['only once', 'models/models/gemini-2.5-pro', null, undefined],

  ['capitals do not matter', 'GPT-4o', null, 'gpt-4o'],
  ['with the provider', 'GPT-4O', 'azure', 'azure/gpt-4o'],
  ['in the provider’s name', 'OpenAI/GPT-4o', null, 'gpt-4o'],
  ['in an alias', 'GPT-4o-2024-08-06', null, 'gpt-4o'],
  ['and beside a prefix', 'models/Gemini-2.5-PRO', null, 'gemini-2.5-pro'],
  ['a name with capitals is found as it is written', 'Mixed-Case', null, 'Mixed-Case'],
  ['and not by another spelling: nobody says that they are the same', 'mixed-case', null, undefined],
  ['an alias with capitals too', 'Nick-Name', null, 'Mixed-Case'],
  ['and only so', 'nick-name', null, undefined],
  ['small letters find a small alias', 'Lower-Name', null, 'Mixed-Case'],

  ['disabled is not unknown', 'retired', null, 'retired'],
  ['by an alias neither', 'old-friend', null, 'retired'],
  ['a provider is no model', 'openai', null, undefined],
  ['unless it is one', 'acme', null, 'acme'],
  ['nothing', '', null, undefined],
  ['only a slash', '/', null, undefined],
  ['what every object has', 'constructor', null, undefined],
]

t.test('finds the model that a name means', async (t) => {
  for (const [of, name, provider, model] of CASES) {
    const found = resolveModel(BOOK, START, name, provider)?.model
    t.equal(found, model, `${of}: ${provider ?? ''} ${name}`)
    t.equal(resolveModel(BOOK, START, name, provider)?.model, model, 'and once more, when it is known')
  }
})

t.test('the order in which models were loaded does not matter', async (t) => {
  const backwards = { ...BOOK, models: new Map([...BOOK.models].reverse()) }
  for (const [of, name, provider, model] of CASES) t.equal(resolveModel(backwards, START, name, provider)?.model, model, of)
  const twins = [price('b-twin', 'acme', [{ startsWith: 'twin' }]), price('a-twin', 'acme', [{ startsWith: 'twin' }])]
  t.equal(resolveModel(book(...twins), START, 'twins', null)?.model, 'a-twin')
  t.equal(resolveModel(book(...twins.reverse()), START, 'twins', null)?.model, 'a-twin')
})

t.test('own name, then provider/name, then alias', async (t) => {
  const rivals = book(
    price('acme/name', 'other', [], { id: 'own' }),
    price('name', 'acme', [{ equals: 'short' }], { id: 'within' }),
    price('third', 'acme', [{ equals: 'acme/name' }, { equals: 'name' }, { equals: 'short-er' }], { id: 'alias' }),
  )
  t.equal(resolveModel(rivals, START, 'acme/name', null)?.id, 'own')
  t.equal(resolveModel(rivals, START, 'acme/name', 'other')?.id, 'own')
  t.equal(resolveModel(rivals, START, 'acme/name', 'acme')?.id, 'alias', 'the own name of another provider’s model is none of this one’s')
  t.equal(resolveModel(rivals, START, 'name', null)?.id, 'within', 'a name before an alias that says the same')
  t.equal(resolveModel(rivals, START, 'name', 'acme')?.id, 'within')
  t.equal(resolveModel(rivals, START, 'short', 'acme')?.id, 'within')
  t.equal(resolveModel(rivals, START, 'acme/short-er', null)?.id, 'alias')

  const served = book(price('host/model', 'host'), price('model', 'host', [], { id: 'bare' }))
  t.equal(resolveModel(served, START, 'model', 'host')?.id, 'bare', 'the own name first, also where the provider is said')
  t.equal(resolveModel(served, START, 'host/model', null)?.id, 'host/model 1')
})

t.test('names and aliases hold from their time on, and those of the future do not yet', async (t) => {
  const now = price('model', 'acme', [{ equals: 'first' }])
  const later = price('model', 'acme', [{ equals: 'second' }], { id: 'later', effectiveFrom: FUTURE })
  const coming = price('coming', 'acme', [{ equals: 'third' }, { startsWith: 'fi' }], { effectiveFrom: FUTURE })
  const dated = book(now, later, coming)
  const at = (time: number, name: string) => resolveModel(dated, time, name, null)?.id
  for (const round of [1, 2]) {
    t.equal(at(FUTURE - 1, 'first'), 'model 1', `before, round ${round}`)
    t.equal(at(FUTURE - 1, 'second'), undefined)
    t.equal(at(FUTURE - 1, 'third'), undefined)
    t.equal(at(FUTURE - 1, 'coming'), undefined)
    t.equal(at(FUTURE, 'second'), 'later')
    t.equal(at(FUTURE, 'third'), 'coming 1')
    t.equal(at(FUTURE, 'first'), 'coming 1', 'an alias that is gone makes room for another')
    t.equal(at(FUTURE, 'model'), 'later')
  }
  t.equal(at(now.effectiveFrom - 1, 'model'), undefined, 'before everything there is nothing')
})

t.test('a provider that takes a model over does so at its time', async (t) => {
  const moved = book(
    price('model', 'acme', [{ equals: 'nick' }]),
    price('model', 'bolt', [{ equals: 'nick' }], { id: 'moved', effectiveFrom: FUTURE }),
  )
  for (const [time, provider, other, id] of [
    [FUTURE - 1, 'acme', 'bolt', 'model 1'],
    [FUTURE, 'bolt', 'acme', 'moved'],
  ] as const) {
    for (const name of ['model', 'nick']) {
      t.equal(resolveModel(moved, time, name, provider)?.id, id, `${name} of ${provider}`)
      t.equal(resolveModel(moved, time, `${provider}/${name}`, null)?.id, id, `${provider}/${name}`)
      t.equal(resolveModel(moved, time, name, other), undefined, `${name} is not of ${other}`)
      t.equal(resolveModel(moved, time, `${other}/${name}`, null), undefined)
    }
  }
})

t.test('a provider that somebody spelt in another way is the same one', async (t) => {
  // Imports spell it "google"; by hand it may be set as "gemini".
  const byHand = book(
    price('gem', 'gemini', [{ equals: 'nick' }]),
    price('gemini/own', 'gemini', [{ equals: 'short' }]),
    price('flash', 'google', [{ equals: 'flash-nick' }]),
  )
  const cases: readonly (readonly [name: string, provider: string | null, model: string | undefined])[] = [
    ['gem', 'gemini', 'gem'],
    ['gem', 'google', 'gem'],
    ['gemini/gem', null, 'gem'],
    ['google/gem', null, 'gem'],
    ['nick', 'gemini', 'gem'],
    ['google/nick', null, 'gem'],
    ['own', 'gemini', 'gemini/own'],
    ['gemini/own', 'gemini', 'gemini/own'],
    ['gemini/own', null, 'gemini/own'],
    ['gemini/short', null, 'gemini/own'],
    ['flash', 'gemini', 'flash'],
    ['gemini/flash-nick', null, 'flash'],
    ['gem', 'openai', undefined],
  ]
  for (const [name, provider, model] of cases)
    t.equal(resolveModel(byHand, START, name, provider)?.model, model, `${provider ?? ''} ${name}`)
})

t.test('a disabled model is refused as such, also where an alias means it, and not passed over for another', async (t) => {
  const code = (name: string, models = BOOK) => {
    const terms = termsAt(models, START, { model: name, provider: null, operation: null })
    return terms.ok ? terms.value.model?.id : terms.refusal.code
  }
  t.equal(code('retired'), 'model_disabled')
  t.equal(code('old-friend'), 'model_disabled')
  t.equal(code('imaginary'), 'unknown_model')
  const rivals = book(
    price('precise', 'acme', [{ startsWith: 'model-x' }], { enabled: false }),
    price('vague', 'acme', [{ startsWith: 'model' }]),
  )
  t.equal(code('model-x1', rivals), 'model_disabled')
  t.equal(code('model-y1', rivals), 'vague')
})

t.test('however many names are asked for, answers stay the same', async (t) => {
  for (let n = 0; n < 12_000; n += 1) {
    if (resolveModel(BOOK, START, `unheard-of-${n}`, null) !== undefined) return t.fail(`unheard-of-${n}`)
  }
  t.equal(resolveModel(BOOK, START, 'gpt-4o-mini-9', null)?.model, 'gpt-4o-mini')
})

t.test('the weight of an alias is how much of a name it pins down', async (t) => {
  const exact = Number.MAX_SAFE_INTEGER
  const cases: readonly (readonly [Alias, string, number])[] = [
    [{ equals: 'ab' }, 'ab', exact],
    [{ equals: 'ab' }, 'abc', 0],
    [{ equals: 'ab' }, 'AB', 0],
    [{ startsWith: 'ab' }, 'abc', 2],
    [{ startsWith: 'ab' }, 'ab', 2],
    [{ startsWith: 'ab' }, 'xab', 0],
    [{ endsWith: 'bc' }, 'abc', 2],
    [{ endsWith: 'bc' }, 'bcd', 0],
    [{ contains: 'b' }, 'abc', 1],
    [{ contains: 'x' }, 'abc', 0],
    [{ regex: '^a\\d$' }, 'a1', 5],
    [{ regex: '^a\\d$' }, 'a12', 0],
    [{ all: [{ startsWith: 'a' }, { endsWith: 'bc' }] }, 'abc', 3],
    [{ all: [{ startsWith: 'a' }, { endsWith: 'x' }] }, 'abc', 0],
    [{ all: [{ all: [{ contains: 'b' }] }, { contains: 'c' }] }, 'abc', 2],
    [{ all: [{ equals: 'abc' }, { startsWith: 'a' }] }, 'abc', exact - 1],
  ]
  for (const [alias, name, weight] of cases) t.equal(weightOf(alias, name), weight, `${JSON.stringify(alias)} of ${name}`)
})
