import { createElement } from 'react'
import t from 'tap'
import { type Balance, createFarebox, type Farebox } from '../../src/client/index.ts'
import { useBalance, useStatus } from '../../src/client/react.ts'
import { isLive, start, startFake } from './fake-farebox.ts'

// There are no types for it here, and a name in a variable needs none.
const server = 'react-dom/server'
const { renderToString } = (await import(server)) as { renderToString(element: unknown): string }

const balance: Balance = {
  ...{ wallet_id: 'wal_a', epoch: '1', version: 1, balance: '5', held: '0', available: '5', debt: '0' },
  ...{ as_of: '2026-01-01T00:00:00.000Z', cause: null },
}

function Shown({ client, wallet, initial }: { client: Farebox; wallet?: string | null; initial?: Balance }) {
  const { state } = useStatus(client)
  return createElement('b', null, `${useBalance(client, wallet, initial)?.available ?? 'nothing yet'}, ${state}`)
}

t.test('a server renders what it was given, and opens no connection', async (t) => {
  const client = createFarebox({ url: 'http://127.0.0.1:9', token: () => t.fail('nobody connects') as never })
  t.equal(renderToString(createElement(Shown, { client })), '<b>nothing yet, connecting</b>')
  t.equal(renderToString(createElement(Shown, { client, wallet: 'wal_a', initial: balance })), '<b>5, connecting</b>')
  t.equal(renderToString(createElement(Shown, { client, wallet: null })), '<b>nothing yet, connecting</b>')
})

t.test('hydration sees what the server saw, whatever the client knows by then', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '9')
  const started = start(t, fake, { wallets: ['wal_a'] })
  await started.until('live', () => isLive(started))
  t.match(renderToString(createElement(Shown, { client: started.client, wallet: 'wal_a', initial: balance })), '<b>5, live</b>')
})

t.test('the store keeps the contract of useSyncExternalStore', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '9')
  const { client, until, settle } = start(t, fake)
  const snapshots: unknown[] = []
  const stop = client.subscribe('wal_a', () => snapshots.push(client.get('wal_a')))
  t.equal(client.get('wal_a'), undefined)
  await until('the first', () => snapshots.length === 1)
  t.equal(client.get('wal_a'), client.get('wal_a'), 'one object until something changes')
  t.equal(client.get('wal_a'), snapshots[0], 'which the listener could read')
  t.equal(client.status, client.status)
  fake.set('wal_a', '8')
  await until('the second', () => snapshots.length === 2)
  t.not(snapshots[1], snapshots[0])
  stop()
  fake.set('wal_a', '7')
  await settle()
  t.equal(snapshots.length, 2)
})
