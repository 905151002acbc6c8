/** Server-sent events (HTML standard) over fetch, which can send the Authorization header that EventSource cannot. */

/** Far above any event of ours: what is longer is something else. */
const EVENT_LENGTH_MAX = 65_536

/**
 * Calls `onBytes` for whatever arrives, comments included, and `onEvent` for each event that carries data. Resolves when the body
 * ends; rejects when it breaks off, is aborted, or is no event stream.
 */
export async function readEvents(response: Response, onBytes: () => void, onEvent: (event: string, data: string) => void): Promise<void> {
  if (!response.body || !response.headers.get('content-type')?.startsWith('text/event-stream')) throw new Error('no event stream')
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const blocks = (rest + value).split(/\r?\n\r?\n/)
    rest = blocks.pop() ?? ''
    if (rest.length > EVENT_LENGTH_MAX) throw new Error('an event is too long')
    for (const block of blocks) {
      const texts: Record<string, string> = {}
      for (const line of block.split(/\r?\n/)) {
        const [, field = '', text = ''] = /^(\w*):? ?(.*)$/.exec(line) ?? []
        texts[field] = field === 'data' && texts.data !== undefined ? `${texts.data}\n${text}` : text
      }
      if (texts.data !== undefined) onEvent(texts.event ?? 'message', texts.data)
    }
    onBytes()
  }
}
