import t from 'tap'
import { readEvents } from '../../src/client/event-stream.ts'

/** Reads a body that arrives in these pieces. */
async function read(pieces: readonly (string | Uint8Array)[], type = 'text/event-stream') {
  const events: [string, string][] = []
  let arrivals = 0
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece)
      controller.close()
    },
  })
  const response = new Response(body, { headers: { 'content-type': type } })
  const count = () => {
    arrivals += 1
  }
  await readEvents(response, count, (event, data) => events.push([event, data]))
  return { events, arrivals }
}

t.test('reads events with either line end, comments and fields that it does not know', async (t) => {
  const { events, arrivals } = await read([
    ': hello\n\nevent: a\nid: 7\ndata: {"x": 1}\n\n',
    'data:no space\r\n\r\n: alive\n\nretry: 5\ndata: two\ndata\ndata: lines\n\n',
    'event: no data\n\ndata: the last, cut',
  ])
  t.same(events, [
    ['a', '{"x": 1}'],
    ['message', 'no space'],
    ['message', 'two\n\nlines'],
  ])
  t.equal(arrivals, 3, 'a comment is a sign of life')
})

t.test('reads the same in whatever pieces it arrives', async (t) => {
  const bytes = new TextEncoder().encode('event: ä\ndata: {"€": "🙂"}\n\nevent: b\ndata: 2\n\n')
  for (const size of [1, 2, 3, 7]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size))
    t.same((await read(pieces)).events, [
      ['ä', '{"€": "🙂"}'],
      ['b', '2'],
    ])
  }
})

t.test('refuses what is no event stream, or has no end of an event', async (t) => {
  await t.rejects(read(['<html>'], 'text/html'), { message: 'no event stream' })
  await t.rejects(read(['data: ', 'x'.repeat(70_000)]), { message: 'an event is too long' })
  await t.rejects(
    readEvents(
      new Response(null, { status: 204 }),
      () => {},
      () => {},
    ),
    { message: 'no event stream' },
  )
})
