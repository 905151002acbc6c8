import { readFileSync } from 'node:fs'
import t from 'tap'
import { WATCHED } from '../../src/billing/stripe/subject.ts'

const README = readFileSync(new URL('../../src/billing/README.md', import.meta.url), 'utf8')

t.test('the webhook is set up with the events that are read, and no other', async (t) => {
  const [, section] = /^## Setting it up\n([\s\S]*?)^## /m.exec(README) ?? []
  const named = [...(section ?? '').matchAll(/`([a-z_]+(?:\.[a-z_]+)+)`/g)]
    .map(([, type]) => type)
    .filter((type) => !type?.endsWith('.yaml'))
  t.same(named, WATCHED)
})
