/** What runs in the thread of counter-thread.ts. A failed load ends it. */
import { parentPort, workerData } from 'node:worker_threads'
import { countBytePairs } from './byte-pairs.ts'
import type { Encoding } from './encoding.ts'
import { loadVocabulary } from './vocabulary.ts'

export interface CountRequest {
  readonly id: number
  readonly text: string
}

export interface CountAnswer {
  readonly id: number
  readonly tokens: number
}

const vocabulary = await loadVocabulary(workerData as Encoding)

// Requests sent during the load wait in the port until somebody listens.
parentPort?.on('message', ({ id, text }: CountRequest) => {
  parentPort?.postMessage({ id, tokens: countBytePairs(text, vocabulary) } satisfies CountAnswer)
})
