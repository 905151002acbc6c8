import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Counter } from './counter.ts'
import type { Encoding } from './encoding.ts'
import type { CountAnswer, CountRequest } from './thread.ts'

/** The thread needs 20 to 80 MB. Past this it dies of it, and not the process. */
const HEAP_MB_MAX = 256

/** thread.ts as it stands here, or thread.js in a build. */
const THREAD = new URL(`./thread${extname(import.meta.url)}`, import.meta.url)

/**
 * A counter in a thread of its own: a vocabulary takes a fifth of a second to load, a long text half of one to count, and money must not
 * wait for either. An idle thread does not keep the process alive, one that counts does.
 */
export function startCounterThread(encoding: Encoding): Counter {
  const thread = new Worker(THREAD, {
    name: encoding,
    workerData: encoding,
    // What the process was started with (loaders, watch mode, secrets) is none of its business.
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
  })
  thread.unref()

  const waiting = new Map<number, PromiseWithResolvers<number>>()
  let asked = 0
  let failure: Error | null = null

  thread.on('message', ({ id, tokens }: CountAnswer) => {
    waiting.get(id)?.resolve(tokens)
    waiting.delete(id)
    if (waiting.size === 0) thread.unref()
  })
  thread.on('error', (error: Error) => {
    failure = error
  })
  // Follows an error as well, and nothing comes after it.
  thread.on('exit', () => {
    failure ??= new Error(`the thread that counts ${encoding} was stopped`)
    for (const { reject } of waiting.values()) reject(failure)
    waiting.clear()
  })

  return {
    async count(text) {
      if (failure !== null) throw failure
      const answer = Promise.withResolvers<number>()
      const id = asked++
      waiting.set(id, answer)
      thread.ref()
      thread.postMessage({ id, text } satisfies CountRequest)
      return answer.promise
    },
    async stop() {
      await thread.terminate()
    },
  }
}
