import type { Test } from 'tap'
import type { Body } from './service.ts'
import { patiently } from './socket.ts'

/** A reader of server-sent events that keeps everything it was sent, in order. */

export interface StreamEvent {
  readonly event?: string
  readonly id?: string
  readonly retry?: string
  /** Parsed. */
  readonly data?: Body
  readonly comment?: string
}

export interface TestStream {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly events: readonly StreamEvent[]
  readonly ended: Promise<void>
  /** The first event, of those so far or still to come, that matches. */
  until(matches: (event: StreamEvent) => boolean): Promise<StreamEvent>
}

/** @param key null for none */
export async function openStream(t: Test, url: string, key: string | null): Promise<TestStream> {
  const abort = new AbortController()
  t.teardown(() => abort.abort())
  const response = await fetch(url, { signal: abort.signal, headers: key === null ? {} : { authorization: `Bearer ${key}` } })
  const events: StreamEvent[] = []
  const watchers = new Set<() => void>()
  const read = async () => {
    let rest = ''
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (rest + chunk).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) events.push(parse(block))
      for (const look of watchers) look()
    }
  }
  // A stream that breaks off has ended, too.
  const ended = response.ok ? read().catch(() => {}) : Promise.resolve()
  if (!response.ok) await response.body?.cancel()
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    events,
    ended,
    until(matches) {
      const found = new Promise<StreamEvent>((resolve) => {
        const look = () => {
          const match = events.find(matches)
          if (!match) return
          watchers.delete(look)
          resolve(match)
        }
        watchers.add(look)
        look()
      })
      return patiently('an event', found)
    },
  }
}

function parse(block: string): StreamEvent {
  const event: Record<string, Body> = {}
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':')
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trim()]
    if (name === '') event.comment = value
    else event[name] = name === 'data' ? JSON.parse(value) : value
  }
  return event
}
