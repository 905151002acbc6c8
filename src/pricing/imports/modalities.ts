import type { Capability } from './listing.ts'

const INPUT: ReadonlyMap<string, Capability> = new Map([
  ['audio', 'audio_input'],
  ['file', 'pdf_input'],
  ['image', 'vision'],
  ['pdf', 'pdf_input'],
  ['video', 'video_input'],
] as const)

const OUTPUT: ReadonlyMap<string, Capability> = new Map([
  ['audio', 'audio_output'],
  ['embeddings', 'embedding'],
  ['image', 'image_output'],
  ['rerank', 'rerank'],
  ['video', 'video_output'],
] as const)

/** What a model can do by what it takes and gives, in the words that the lists have in common. Text says nothing. */
export function capabilitiesOf(input: readonly string[], output: readonly string[]): Capability[] {
  return [...input.flatMap((one) => INPUT.get(one) ?? []), ...output.flatMap((one) => OUTPUT.get(one) ?? [])]
}
