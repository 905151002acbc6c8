import t from 'tap'
import { createService } from '../helpers/service.ts'
import { openSocket } from '../helpers/socket.ts'

/** What was not committed is told to nobody. A socket that had seen such a state would drop the real one of the same version. */

t.test('a batch whose COMMIT is refused pushes nothing', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const wallet = await service.wallet('100')
  // Refuses at the COMMIT itself, when every statement has gone well.
  await service.query(`create function refuse() returns trigger language plpgsql as $$ begin
    if new.reference = 'poison' then raise exception 'no' using errcode = '23514'; end if; return null; end $$`)
  await service.query(`create constraint trigger refuse after insert on reservations
    deferrable initially deferred for each row execute function refuse()`)
  const socket = await openSocket(t, port, { key: service.client.key })
  await socket.follow([wallet])
  const before = (await service.get(`/v1/wallets/${wallet}`)).body

  const rounds = 20
  for (let round = 1; round <= rounds; round += 1) {
    const refused = await service.post('/v1/reservations', { wallet, amount: '3', reference: 'poison' })
    t.equal(refused.status, 500)
    const held = await service.made('/v1/reservations', { wallet, amount: '1' })
    await socket.settled()
    t.equal(held.wallet.version, before.version + round)
    t.match(socket.balances(wallet).at(-1), { version: before.version + round, held: String(round) })
  }
  const pushed = socket.balances(wallet).filter(({ version }) => version > before.version)
  t.equal(pushed.length, rounds, 'one push for each commit, none for what was not committed')
  t.comment(`uncommitted: ${rounds} batches refused at COMMIT among ${rounds} that were not: ${pushed.length} pushes`)
})
