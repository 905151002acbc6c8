import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'

/**
 * What the demo sends to a browser: its page, and the client's own source with the types taken out, so that a change of it is seen by
 * loading the page again. The lists are all that can be asked for.
 */

/** The same from src/demo and from dist/demo: a build carries no sources along. */
const SOURCE = new URL('../../src/', import.meta.url)

const PAGE_FILES: Readonly<Record<string, string>> = {
  'page.css': 'text/css; charset=utf-8',
  ...Object.fromEntries(['page.js', 'buy.js', 'orders.js', 'words.js', 'dom.js'].map((name) => [name, 'text/javascript; charset=utf-8'])),
  'icon.svg': 'image/svg+xml',
}

/** index.ts and what it imports. */
const CLIENT_FILES = [
  ...['index.ts', 'types.ts', 'clock.ts', 'store.ts', 'link.ts'],
  ...['socket.ts', 'session.ts', 'fallback.ts', 'event-stream.ts'],
]

export interface DemoFile {
  readonly path: string
  readonly type: string
  /** Null where the sources are not there, as in an image. */
  read(): Promise<string | null>
}

export const DEMO_FILES: readonly DemoFile[] = [
  { path: '/demo', type: 'text/html; charset=utf-8', read: () => textOf('demo/page.html') },
  ...Object.entries(PAGE_FILES).map(([name, type]) => ({ path: `/demo/${name}`, type, read: () => textOf(`demo/${name}`) })),
  ...CLIENT_FILES.map((name) => ({
    path: `/demo/client/${name}`,
    type: 'text/javascript; charset=utf-8',
    read: async () => {
      const text = await textOf(`client/${name}`)
      return text === null ? null : stripTypeScriptTypes(text)
    },
  })),
]

function textOf(path: string): Promise<string | null> {
  return readFile(new URL(path, SOURCE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
}
