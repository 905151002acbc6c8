import t from 'tap'
import { type Answer, createService, tally, times } from '../helpers/service.ts'

/** Commit, release and expiry race for one hold at its deadline: one of them wins, and everybody is told what became of it. */

t.test('at the deadline', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  const WAVES = 8
  const HOLDS = 40 * WAVES

  t.test(`${HOLDS} holds end once each`, async (t) => {
    const wallets = await Promise.all(times(10, () => service.wallet('1000')))
    // The database runs on this machine: its clock is ours.
    const until = (instant: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, instant - Date.now())))
    let sweeping = true
    const sweeper = async (app: typeof second) => {
      let found = 0
      while (sweeping) {
        found += (await app.sweep()).holds
        await until(Date.now() + 2)
      }
      return found
    }
    const sweepers = [service, second, service, second].map(sweeper)

    /** Commit, release and a second commit, around the deadline and in turns; the sweepers are always there. */
    const fight = async (hold: { id: string; expires_at: string }, i: number) => {
      const at = Date.parse(hold.expires_at) - 60 + (i % 40) * 2
      const path = `/v1/reservations/${hold.id}`
      const send = [
        () => service.post(`${path}/commit`, { amount: '1' }),
        () => second.post(`${path}/commit`, { amount: '1' }),
        () => second.post(`${path}/release`),
      ] as const
      const delays = i % 3 === 0 ? [1, 2, 0] : i % 3 === 1 ? [0, 1, 0] : [3, 30, 2]
      const [first, later, release] = (await Promise.all(send.map((act, k) => until(at + (delays[k] as number)).then(act)))) as [
        Answer,
        Answer,
        Answer,
      ]
      return { hold, commits: [first, later], release }
    }
    const outcomes: Awaited<ReturnType<typeof fight>>[] = []
    for (let wave = 0; wave < WAVES; wave += 1) {
      const commands = times(HOLDS / WAVES, (i) => ({
        operation: 'reserve',
        idempotency_key: `hold-${wave}-${i}`,
        body: { wallet: wallets[i % wallets.length], amount: '2', ttl_seconds: 1, reference: `hold-${wave}-${i}` },
      }))
      const { results } = await service.made('/v1/batch', { commands })
      outcomes.push(...(await Promise.all(results.map((result: Answer, i: number) => fight(result.body, i + wave)))))
    }
    sweeping = false
    const swept = (await Promise.all(sweepers)).reduce((sum, found) => sum + found, 0)
    await service.sweep()

    const rows = await service.query<{ id: string; status: string; charges: number; late: number }>(
      `select 'rsv_' || replace(r.id::text, '-', '') as id, r.status, count(c.id)::int as charges, (count(*) filter (where c.late))::int as late
        from reservations r left join charges c on c.reservation_id = r.id where r.reference like 'hold-%' group by r.id, r.status`,
    )
    const stored = new Map(rows.map((row) => [row.id, row]))
    let wrong = 0
    const ends: Record<string, number> = {}
    for (const { hold, commits, release } of outcomes) {
      const row = stored.get(hold.id)
      const done = commits.filter((answer) => answer.status === 200)
      const terminal = done.length + (release.status === 200 ? 1 : 0)
      const expected = release.status === 200 ? 'released' : 'committed'
      const told = commits.filter((answer) => answer.status !== 200).every((answer) => answer.body.code === `reservation_${expected}`)
      const releaseTold = release.status === 200 || ['reservation_committed', 'reservation_expired'].includes(release.body.code)
      const right = terminal === 1 && row?.status === expected && row.charges === done.length && told && releaseTold
      if (!right) {
        wrong += 1
        t.comment(JSON.stringify({ row, commits: commits.map((c) => c.text), release: release.text }))
      }
      const name = release.status === 200 ? 'released' : done[0]?.body.late ? 'committed late' : 'committed in time'
      ends[name] = (ends[name] ?? 0) + 1
    }
    t.equal(wrong, 0, 'each hold ended once, and every answer says how')
    t.equal(rows.length, HOLDS)
    t.ok(Object.keys(ends).length >= 2, 'not always the same one')
    t.comment(
      `deadline: ${HOLDS} holds: ${JSON.stringify(ends)}; the sweepers met ${swept}; answers ${JSON.stringify(tally(outcomes.flatMap((o) => [...o.commits, o.release])))}`,
    )
  })

  t.test('holds that nobody settles expire once, however many sweep', async (t) => {
    const wallet = await service.wallet('300')
    await service.made('/v1/batch', {
      commands: times(150, (i) => ({
        operation: 'reserve',
        idempotency_key: `forgotten-${i}`,
        body: { wallet, amount: '2', ttl_seconds: 1, reference: 'forgotten' },
      })),
    })
    await new Promise((resolve) => setTimeout(resolve, 1_005))
    const before = (await service.get(`/v1/wallets/${wallet}`)).body.version
    await Promise.all(times(8, (i) => (i % 2 ? service : second).sweep()))
    const wallets = (await service.get(`/v1/wallets/${wallet}`)).body
    t.match(wallets, { balance: '300', held: '0', available: '300' })
    t.equal(wallets.version - before, 150, 'one change for each hold')
    const late = await Promise.all(
      (await service.query(`select 'rsv_' || replace(id::text, '-', '') as id from reservations where reference = 'forgotten'`)).flatMap(
        (row) => [service, second].map((app) => app.post(`/v1/reservations/${row.id}/commit`, { amount: '1' })),
      ),
    )
    t.same(tally(late), { 200: 150, '409 reservation_committed': 150 }, 'a late commit is billed once')
    t.ok(late.filter((answer) => answer.status === 200).every((answer) => answer.body.late === true))
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '150', held: '0' })
  })

  t.test('extend races with expiry: extended in time it lives on, else it is told', async (t) => {
    const wallet = await service.wallet('500')
    const { results } = await service.made('/v1/batch', {
      commands: times(120, (i) => ({ operation: 'reserve', idempotency_key: `long-${i}`, body: { wallet, amount: '1', ttl_seconds: 1 } })),
    })
    const deadline = Date.parse(results[0].body.expires_at)
    const sweeps = times(12, (i) =>
      new Promise((resolve) => setTimeout(resolve, deadline - 30 + i * 5 - Date.now())).then(() => second.sweep()),
    )
    const answers = await Promise.all(
      results.map(async (result: Answer, i: number) => {
        await new Promise((resolve) => setTimeout(resolve, deadline - 30 + i / 2 - Date.now()))
        return service.post(`/v1/reservations/${result.body.id}/extend`, { ttl_seconds: 60 })
      }),
    )
    await Promise.all(sweeps)
    await service.sweep()
    const counts = tally(answers)
    t.equal((counts['200'] ?? 0) + (counts['409 reservation_expired'] ?? 0), 120)
    const states = await service.query(`select status, count(*)::int as n from reservations where wallet_id = $1 group by 1`, [
      uuid(wallet),
    ])
    t.same(Object.fromEntries(states.map((row) => [row.status, row.n])), {
      ...(counts['200'] && { held: counts['200'] }),
      ...(counts['409 reservation_expired'] && { expired: counts['409 reservation_expired'] }),
    })
    t.comment(`deadline: extended at it, 120 holds: ${JSON.stringify(counts)}`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

function uuid(wireId: string): string {
  return wireId.slice(4)
}
