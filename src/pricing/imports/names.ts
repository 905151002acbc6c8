import { Skip } from './source.ts'

/**
 * One name for each priced model, whatever list it came from: a maker's own service has the maker's bare name ("gpt-4o"), anybody
 * else `provider/name` ("azure/gpt-4o").
 */

/** Who sells models of their own under their own names. */
export const MAKERS: ReadonlySet<string> = new Set([
  ...['ai21', 'anthropic', 'cohere', 'deepseek', 'google', 'minimax', 'mistral', 'moonshotai'],
  ...['openai', 'perplexity', 'voyageai', 'xai', 'zai'],
])

/** Other spellings of a provider that the lists use. A provider that is not here is spelt as it comes. */
const SPELLINGS: ReadonlyMap<string, string> = new Map([
  ['amazon-bedrock', 'bedrock'],
  ['amazon_nova', 'amazon-nova'],
  ['aws', 'bedrock'],
  ['azure_text', 'azure'],
  ['bedrock_converse', 'bedrock'],
  ['cloudflare-workers-ai', 'cloudflare'],
  ['cohere_chat', 'cohere'],
  ['fireworks', 'fireworks_ai'],
  ['fireworks-ai', 'fireworks_ai'],
  ['fireworks_ai-embedding-models', 'fireworks_ai'],
  ['gemini', 'google'],
  ['github-copilot', 'github_copilot'],
  ['google-vertex', 'vertex_ai'],
  ['google-vertex-anthropic', 'vertex_ai'],
  ['mistralai', 'mistral'],
  ['moonshot', 'moonshotai'],
  ['palm', 'google'],
  ['text-completion-openai', 'openai'],
  ['together', 'together_ai'],
  ['together-ai', 'together_ai'],
  ['togetherai', 'together_ai'],
  ['vercel', 'vercel_ai_gateway'],
  ['voyage', 'voyageai'],
  ['x-ai', 'xai'],
  ['z-ai', 'zai'],
])

/** How names of a maker's models begin. A maker that also serves another maker's models does not thereby own their names. */
const FAMILIES: readonly (readonly [prefix: string, maker: string])[] = [
  ['claude', 'anthropic'],
  ['codellama', 'meta'],
  ['codestral', 'mistral'],
  ['command-', 'cohere'],
  ['deepseek', 'deepseek'],
  ['gemini', 'google'],
  ['gemma', 'google'],
  ['glm-', 'zai'],
  ['gpt-', 'openai'],
  ['grok', 'xai'],
  ['kimi', 'moonshotai'],
  ['llama', 'meta'],
  ['minimax', 'minimax'],
  ['mistral', 'mistral'],
  ['mixtral', 'mistral'],
  ['o1', 'openai'],
  ['o3', 'openai'],
  ['o4', 'openai'],
  ['qwen', 'alibaba'],
  ['sonar', 'perplexity'],
]

/** The ids that requests may name. */
export const MODEL_ID = /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$/
const PROVIDER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

export function providerOf(spelling: string): string {
  return SPELLINGS.get(spelling) ?? spelling
}

/** Whether the name is one that this provider gives: it is a maker, and the model is not visibly another maker's. */
export function isOwnName(provider: string, name: string): boolean {
  if (!MAKERS.has(provider)) return false
  const lower = name.toLowerCase()
  const family = FAMILIES.find(([prefix]) => lower.startsWith(prefix))
  return family === undefined || family[1] === provider
}

/**
 * The id of a model under the name that its provider gives it.
 * @throws Skip when no request could name it
 */
export function modelId(provider: string, name: string): string {
  const id = isOwnName(provider, name) && !name.includes('/') ? name : `${provider}/${name}`
  return acceptableId(provider, id)
}

/** @throws Skip when no request could name it */
export function acceptableId(provider: string, id: string): string {
  if (!PROVIDER_ID.test(provider)) throw new Skip('the provider has a name that requests cannot use')
  if (!MODEL_ID.test(id)) throw new Skip('the model has a name that requests cannot use')
  return id
}
