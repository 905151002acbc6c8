import type { Encoding } from './encoding.ts'

/** Counts tokens in one encoding, texts in turn. */
export interface Counter {
  /** Tokens of the text. @throws (rejects) when this counter failed or was stopped; it never counts again */
  count(text: string): Promise<number>
  /** Gives its memory back. What is still being counted is rejected. */
  stop(): Promise<void>
}

/** Loading goes on in the background, and shows as a failure of what is counted. @throws when there can be no counter at all */
export type StartCounter = (encoding: Encoding) => Counter
