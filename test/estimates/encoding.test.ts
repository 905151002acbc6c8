import t from 'tap'
import { encodingOf } from '../../src/estimates/encoding.ts'

const OWN: Record<string, string[]> = {
  o200k_base: [
    ...['gpt-4o', 'gpt-4o-mini-2024-07-18', 'chatgpt-4o-latest', 'gpt-4.1', 'gpt-4.1-nano', 'gpt-4.5-preview', 'gpt-5', 'gpt-5.2-codex'],
    ...['o1', 'o3-mini', 'o4-mini-2025-04-16', 'gpt-oss-120b', 'gpt-6', 'gpt-10', 'codex-mini-latest', 'gpt-realtime-mini'],
    ...['openai/gpt-4o', 'azure/eu/gpt-4o', 'ft:gpt-4o-mini:acme::abc', 'openai.gpt-oss-20b-1:0', 'openai/gpt-5:free', 'GPT-4o'],
  ],
  cl100k_base: [
    ...['gpt-4', 'gpt-4-0613', 'gpt-4-32k', 'gpt-4-turbo', 'gpt-4-1106-preview', 'gpt-3.5-turbo', 'gpt-35-turbo-16k'],
    ...['text-embedding-3-small', 'text-embedding-ada-002', 'davinci-002', 'babbage-002', 'openai/gpt-4', 'ft:gpt-3.5-turbo:acme::abc'],
  ],
}

for (const [encoding, models] of Object.entries(OWN)) {
  t.test(`counts these by their own ${encoding}, whoever sells them`, async (t) => {
    for (const model of models) {
      for (const provider of ['openai', 'azure', null]) t.same(encodingOf(model, provider), { encoding, method: 'tokenizer' }, model)
    }
  })
}

t.test('approximates models of others by o200k', async (t) => {
  const others = [
    ...['claude-sonnet-4-5', 'gemini-2.5-pro', 'mistral-large-latest', 'deepseek-chat', 'grok-4', 'llama-3.1-8b', ''],
    ...['gpt-neox-20b', 'gpt4all-j', 'marco-o1', 'anthropic/claude-opus-4.5', 'meta-llama/llama-3', '/', 'o1.5', 'gpt-'],
  ]
  for (const model of others) {
    t.same(encodingOf(model, 'other'), { encoding: 'o200k_base', method: 'approximate' }, model)
    t.same(encodingOf(model, null), { encoding: 'o200k_base', method: 'approximate' }, model)
  }
})

t.test("takes an unknown name of OpenAI's for a new one, but not the names of old", async (t) => {
  const method = (model: string, provider: string | null) => encodingOf(model, provider).method
  t.equal(method('nova-1', 'openai'), 'tokenizer')
  t.equal(method('nova-1', 'OpenAI'), 'tokenizer')
  t.equal(method('openai/nova-1', 'openrouter'), 'tokenizer')
  t.equal(method('nova-1', 'azure'), 'approximate', "Azure sells everybody's models")
  for (const model of ['gpt2', 'gpt-2', 'text-davinci-003', 'code-davinci-002', 'ada', 'davinci']) {
    t.equal(method(model, 'openai'), 'approximate', model)
  }
})
