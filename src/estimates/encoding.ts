/** A vocabulary of OpenAI's: o200k since GPT-4o, cl100k before (GPT-4, GPT-3.5, embeddings). */
export type Encoding = 'o200k_base' | 'cl100k_base'

/**
 * `tokenizer`: the encoding is the model's own. `approximate`: it is another one's, o200k, because the model's is not published or long
 * gone; real counts differ by some tens of percent, either way, and more for text that is not English.
 */
export interface EncodingChoice {
  readonly encoding: Encoding
  readonly method: 'tokenizer' | 'approximate'
}

const CL100K = /^(?:gpt-4(?![\w.])|gpt-3\.?5|text-embedding-(?:3-|ada-002)|(?:davinci|babbage)-002)/
/** The open models count as well: their o200k_harmony differs from o200k_base in its special tokens only. */
const O200K = /^(?:gpt-4o|gpt-4\.\d|gpt-(?:[5-9]|\d\d)|gpt-oss|gpt-(?:audio|realtime|image)|chatgpt-|codex-|o\d+(?![\w.]))/
/** GPT-2 and GPT-3: encodings of their own. */
const BEFORE_CL100K = /^(?:gpt-?2|(?:text|code)-|(?:davinci|curie|babbage|ada)(?:-|$))/

/**
 * The encoding to count a model's text with. The model's name decides, without a path or dialect before it (`azure/gpt-4o`,
 * `openai.gpt-oss-20b-1:0`, `ft:gpt-4o:acme`), since the same model is sold by many; the provider tells of a name that is not known
 * yet whether it is OpenAI's and thus new.
 */
export function encodingOf(model: string, provider: string | null): EncodingChoice {
  const path = model.toLowerCase()
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/^(?:openai\.|ft:)/, '')
  if (CL100K.test(name)) return { encoding: 'cl100k_base', method: 'tokenizer' }
  if (O200K.test(name)) return { encoding: 'o200k_base', method: 'tokenizer' }
  const isNew = (provider?.toLowerCase() === 'openai' || /^openai[/.]/.test(path)) && !BEFORE_CL100K.test(name)
  return { encoding: 'o200k_base', method: isNew ? 'tokenizer' : 'approximate' }
}
