import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ajv, type ValidateFunction } from 'ajv'
import formats from 'ajv-formats'
import t, { type Test } from 'tap'
import { CLOSE, WALLETS_MAX } from '../../src/realtime/session.ts'
import { ASYNCAPI_FILE, describeSocket, socketDocument } from '../../tools/asyncapi.ts'
import { createService } from '../helpers/service.ts'

const TEXT = readFileSync(new URL('../../docs/realtime.md', import.meta.url), 'utf8')
const DOCUMENT = socketDocument(TEXT)

const MESSAGE_MS_MAX = 10_000

t.test('asyncapi.yaml is what the schemas and docs/realtime.md say', async (t) => {
  t.ok(existsSync(ASYNCAPI_FILE) && readFileSync(ASYNCAPI_FILE, 'utf8') === describeSocket(), 'run "npm run asyncapi" and commit it')
})

t.test('what is no text of ours is refused', async (t) => {
  t.throws(() => socketDocument(''), /no introduction/)
  t.throws(() => socketDocument(TEXT.replace('## Close codes', '## Codes')), /no section "Close codes"/)
})

t.test('every reference of the document leads somewhere', async (t) => {
  const references = [...JSON.stringify(DOCUMENT).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path as string)
  for (const path of new Set(references)) {
    const at = path.split('/').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], DOCUMENT)
    t.ok(at, path)
  }
  t.ok(references.length > 30, `${references.length} references`)
})

t.test('every message is on the channel and in an operation', async (t) => {
  const named = Object.keys(DOCUMENT.components.messages).sort()
  const used = Object.values(DOCUMENT.operations).flatMap(({ messages, reply }) => [...messages, ...(reply?.messages ?? [])])
  t.same(Object.keys(DOCUMENT.channels.realtime.messages).sort(), named)
  t.same([...new Set(used.map(({ $ref }) => $ref.split('/').at(-1)))].sort(), named)
})

t.test('the text names every close code that the service sends, and the bound on wallets', async (t) => {
  const { description } = DOCUMENT.channels.realtime
  for (const [name, code] of Object.entries(CLOSE)) t.match(description, new RegExp(`^\\| .*\\b${code}\\b.* \\|`, 'm'), name)
  t.match(description, `${WALLETS_MAX.toLocaleString('en')} wallets a socket`)
})

t.test('the frames of a live socket are those of the document', async (t) => {
  const service = await createService(t)
  const { base } = await service.listen()
  const socket = await connect(t, base, await service.tokenFor('alice'))
  const fits = validators()

  const wallet = await service.wallet('100', { owner: 'user:alice', settings: { low_balance_threshold: '60' } })
  socket.send({ jsonrpc: '2.0', id: 1, method: 'session.ping' })
  socket.send({ jsonrpc: '2.0', id: 'two', method: 'wallet.subscribe', params: { wallets: [wallet], transactions: true, after_seq: 0 } })
  await socket.seen('PingResult', fits)
  await socket.seen('SubscribeResult', fits)

  const { id } = await service.made('/v1/reservations', { wallet, amount: '50' })
  await service.made(`/v1/reservations/${id}/commit`, { amount: '30' })
  for (const name of ['WalletBalance', 'WalletTransaction', 'WalletLowBalance']) await socket.seen(name, fits)

  const refused = [
    'no JSON',
    { jsonrpc: '2.0', method: 'wallet.subscribe' },
    { jsonrpc: '2.0', id: 3, method: 'wallet.burn' },
    { jsonrpc: '2.0', id: 4, method: 'wallet.subscribe', params: { wallets: [] } },
    { jsonrpc: '2.0', id: 5, method: 'wallet.subscribe', params: { wallets: ['user:mallory'] } },
  ]
  for (const call of refused) socket.send(call)
  await socket.seen('Error', fits, refused.length)
  socket.send({ jsonrpc: '2.0', id: 6, method: 'wallet.unsubscribe' })
  await socket.seen('UnsubscribeResult', fits)

  await service.close()
  await socket.seen('SessionClosing', fits)

  const names = socket.frames.map((one) => namesOf(one, fits))
  t.same(
    names.filter((one) => one.length !== 1),
    [],
    'every frame is exactly one of the messages',
  )
  const calls = Object.values(DOCUMENT.operations).flatMap((operation) => (operation.action === 'receive' ? operation.messages : []))
  const expected = Object.keys(fits).filter((name) => !calls.some(({ $ref }) => $ref.endsWith(`/${name}`)))
  t.same([...new Set(names.flat())].sort(), expected.sort(), 'and every message of the service was seen')
  t.same(errorCodes(socket.frames), [-32700, -32600, -32601, -32602, -32602])
})

t.test('the calls that the document describes are those that the service takes', async (t) => {
  const fits = validators()
  const call = (method: string, params?: object) => ({ jsonrpc: '2.0', id: 1, method, ...(params && { params }) })
  const good = [
    call('wallet.subscribe'),
    call('wallet.subscribe', { wallets: ['user:alice'], transactions: true, after_seq: 3 }),
    call('wallet.unsubscribe', { wallets: ['user:alice'] }),
    call('session.ping', {}),
  ]
  const bad = [
    call('wallet.burn'),
    call('wallet.subscribe', { wallets: [] }),
    call('wallet.subscribe', { wallets: ['alice'] }),
    call('wallet.subscribe', { after_seq: 3 }),
    call('wallet.subscribe', { wallets: ['user:alice', 'user:bob'], after_seq: 3 }),
    call('wallet.unsubscribe', { all: true }),
    call('session.ping', { now: 1 }),
    { ...call('session.ping'), jsonrpc: '1.0' },
    { ...call('session.ping'), more: 1 },
  ]
  t.same(
    good.map((one) => namesOf(one, fits)),
    [['SubscribeCall'], ['SubscribeCall'], ['UnsubscribeCall'], ['PingCall']],
  )
  t.same(
    bad.flatMap((one) => namesOf(one, fits)),
    [],
  )
  const service = await createService(t)
  const { base } = await service.listen()
  await service.wallet('1', { owner: 'user:alice' })
  const socket = await connect(t, base, await service.tokenFor('alice'))
  for (const one of [...good, ...bad]) socket.send(one)
  await socket.until(() => socket.frames.length >= good.length + bad.length)
  t.equal(socket.frames.filter((one) => 'result' in one).length, good.length)
})

type Frame = Readonly<Record<string, unknown>>

/** A validator for each message. Strict: a field that is not documented is an error. */
function validators(): Record<string, ValidateFunction> {
  const ajv = new Ajv({ strict: true, allowUnionTypes: true })
  formats.default(ajv)
  // AsyncAPI's own place of definitions, so that references need no rewriting.
  ajv.addKeyword('components')
  const components = { schemas: closed(DOCUMENT.components.schemas) }
  return Object.fromEntries(
    Object.keys(DOCUMENT.components.messages).map((name) => [
      name,
      ajv.compile({ $ref: `#/components/schemas/${name}`, components } as object),
    ]),
  )
}

/** The schemas with every object that lists its properties closed; `data` of errors is open by design. */
function closed(value: unknown, name = ''): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => closed(item))
  const copy: Record<string, unknown> = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, closed(item, key)]))
  if (copy.type === 'object' && copy.properties !== undefined && name !== 'data') copy.additionalProperties ??= false
  return copy
}

function namesOf(frame: unknown, fits: Readonly<Record<string, ValidateFunction>>): string[] {
  return Object.entries(fits).flatMap(([name, validate]) => (validate(frame) ? [name] : []))
}

function errorCodes(frames: readonly Frame[]): number[] {
  return frames.flatMap((one) => ('error' in one ? [(one.error as { code: number }).code] : []))
}

async function connect(t: Test, base: string, token: string) {
  const socket = new WebSocket(`${base.replace('http', 'ws')}/v1/realtime`, ['farebox.v1', `bearer.${token}`])
  const frames: Frame[] = []
  socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(String(data))))
  t.teardown(() => socket.close())
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', reject)
  })
  async function until(condition: () => boolean): Promise<void> {
    const end = performance.now() + MESSAGE_MS_MAX
    while (!condition()) {
      if (performance.now() > end) throw new Error(`waited in vain; these frames came: ${JSON.stringify(frames)}`)
      await sleep(10)
    }
  }
  return {
    frames,
    until,
    send: (call: object | string) => socket.send(typeof call === 'string' ? call : JSON.stringify(call)),
    /** Waits until so many frames of a message have come. */
    seen: (name: string, fits: Readonly<Record<string, ValidateFunction>>, count = 1) =>
      until(() => frames.filter((one) => fits[name]?.(one)).length >= count),
  }
}
