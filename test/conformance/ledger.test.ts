import t, { type Test } from 'tap'
import { startProcess } from '../helpers/process.ts'
import {
  type Answer,
  type Body,
  type Caller,
  callerAt,
  createService,
  JWT_SECRET,
  type TestService,
  tally,
  times,
} from '../helpers/service.ts'

/**
 * The fifteen invariants of ledger-conformance-kit (github.com/technomorphcorporation), under its numbers and in its sizes, asked of
 * Farebox's own API: a submission is a charge, a credit a grant, a transfer a charge whose whole goes to a payee, a reversal a refund.
 * Everything is sent over HTTP to processes of their own, and read back the same way.
 */

const SENDERS = 64
const CREDITS = 500
const DRAINS = 20
const TRANSFERS = 300
const SMALL_MOVEMENTS = 1_000

interface Stage {
  readonly service: TestService
  readonly processes: number
  /** The next process's turn. */
  next(): Caller
}

t.setTimeout(300_000)

for (const processes of [1, 2]) {
  t.test(`over ${processes === 1 ? 'one process' : 'two processes'}`, async (t) => {
    const stage = await openStage(t, processes)
    for (const [title, show] of Object.entries(INVARIANTS)) {
      await t.test(title, async (t) => {
        const figure = await show(t, stage)
        t.comment(`conformance: ${title}, over ${processes}: ${figure}`)
      })
    }
    t.same(await stage.service.unsound(), [], 'and the book is sound')
  })
}

async function openStage(t: Test, processes: number): Promise<Stage> {
  const service = await createService(t)
  const env = { DATABASE_URL: service.url, DATA_DIR: t.testdir(), PORT: '0', JWT_SECRET, LOG_LEVEL: 'error', JOBS: 'false', DOCS: 'false' }
  const started = await Promise.all(times(processes, () => startProcess(t, env)))
  const callers = started.map(({ url }) => callerAt(url, () => service.client.key))
  let turn = 0
  return { service, processes, next: () => callers[turn++ % callers.length] as Caller }
}

let owners = 0
async function wallet({ next }: Stage, credits?: string, settings: object = {}): Promise<string> {
  owners += 1
  const { id } = await next().made('/v1/wallets', { owner: `user:c${owners}`, ...settings })
  if (credits !== undefined) await next().made('/v1/grants', { wallet: id, kind: 'purchase', amount: credits })
  return id
}

/** The whole journal of a wallet, oldest first. */
async function journal({ next }: Stage, id: string): Promise<Body[]> {
  const rows: Body[] = []
  for (let cursor = ''; ; ) {
    const { body } = await next().get(`/v1/wallets/${id}/transactions?limit=200${cursor && `&cursor=${cursor}`}`)
    rows.push(...body.data)
    if (body.next_cursor === null) return rows.sort((a, b) => a.seq - b.seq)
    cursor = body.next_cursor
  }
}

const balanceOf = async ({ next }: Stage, id: string): Promise<Body> => (await next().get(`/v1/wallets/${id}/balance`)).body

function micro(credits: string): bigint {
  const [, sign, whole = '0', decimals = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(credits) ?? []
  return BigInt(`${sign}1`) * (BigInt(whole) * 1_000_000n + BigInt(decimals.padEnd(6, '0')))
}
const sum = (rows: readonly Body[]): bigint => rows.reduce((total, { amount }) => total + micro(amount), 0n)

/** Some of everything that moves credits between these wallets. */
async function work(stage: Stage, wallets: readonly string[]): Promise<void> {
  await Promise.all(
    wallets.flatMap((id, i) => [
      stage.next().made('/v1/grants', { wallet: id, kind: 'bonus', amount: '3.5' }),
      stage
        .next()
        .made('/v1/charges', { wallet: id, amount: '1.25', payees: [{ wallet: wallets[(i + 1) % wallets.length], share: '0.4' }] }),
      stage
        .next()
        .made('/v1/reservations', { wallet: id, amount: '2' })
        .then((hold) => stage.next().made(`/v1/reservations/${hold.id}/commit`, { amount: '1.000001' })),
      stage
        .next()
        .made('/v1/charges', { wallet: id, amount: '0.5' })
        .then((charge) => stage.next().made(`/v1/charges/${charge.id}/refund`, { amount: '0.2' })),
    ]),
  )
}

const INVARIANTS: Readonly<Record<string, (t: Test, stage: Stage) => Promise<string>>> = {
  '01 every transaction is balanced': async (t, stage) => {
    const wallets = await Promise.all(times(4, () => wallet(stage, '100')))
    await work(stage, wallets)
    const rows = (await Promise.all(wallets.map((id) => journal(stage, id)))).flat()
    t.ok(
      rows.every(({ counter_account }) => typeof counter_account === 'string' && counter_account !== ''),
      'every row names its other side',
    )
    const between = Map.groupBy(
      rows.filter(({ counter_account }) => counter_account === 'clearing'),
      ({ charge_id }) => charge_id,
    )
    t.equal(between.size, wallets.length)
    for (const [charge, legs] of between) t.equal(sum(legs), 0n, `what ${charge} moves between wallets nets to zero`)
    return `${rows.length} rows with two sides each, ${between.size} transfers that net to zero`
  },

  '02 the journal is append-only': async (t, stage) => {
    const id = await wallet(stage, '100')
    await work(stage, [id, await wallet(stage, '100')])
    const before = await journal(stage, id)
    await work(stage, [id, await wallet(stage, '100')])
    const after = await journal(stage, id)
    t.ok(after.length > before.length)
    t.same(after.slice(0, before.length), before, 'what was written is as it was')
    for (const statement of ['update transactions set amount = 0', 'delete from transactions', 'truncate transactions cascade'])
      await t.rejects(stage.service.query(statement), /append-only|cannot be|refus|only/i, statement)
    for (const method of ['DELETE', 'PATCH', 'PUT'])
      t.equal((await stage.next().send(method, `/v1/wallets/${id}/transactions`, {})).status, 405)
    return `${before.length} rows the same after ${after.length - before.length} more; UPDATE, DELETE, TRUNCATE refused`
  },

  '03 the hash chain is intact': async (t, stage) => {
    const broken = (await stage.service.unsound()).filter((finding) => finding.startsWith('I19'))
    t.same(broken, [])
    const [row] = await stage.service.query('select count(*)::int as n, count(hash)::int as hashed from transactions')
    t.equal(row.hashed, row.n)
    return `${row.n} rows recomputed, 0 broken`
  },

  '04 a duplicate submission is a no-op': async (t, stage) => {
    const id = await wallet(stage, '100')
    const send = () => stage.next().post('/v1/charges', { wallet: id, amount: '7' }, { idempotencyKey: `once-${id}` })
    const [first, again] = [await send(), await send()]
    t.same([first.status, again.status], [201, 201])
    t.equal(again.text, first.text, 'byte for byte')
    t.equal(again.headers['idempotent-replayed'], 'true')
    t.equal((await balanceOf(stage, id)).balance, '93')
    return 'sent twice, applied once, answered the same'
  },

  '05 concurrent duplicates collapse to one': async (t, stage) => {
    const id = await wallet(stage, '100')
    const answers = await Promise.all(
      times(SENDERS, () => stage.next().post('/v1/charges', { wallet: id, amount: '7' }, { idempotencyKey: `many-${id}` })),
    )
    t.same(tally(answers), { 201: SENDERS })
    const fresh = answers.filter(({ headers }) => headers['idempotent-replayed'] === undefined).length
    t.equal(fresh, 1)
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    t.equal((await balanceOf(stage, id)).balance, '93')
    return `${SENDERS} senders of one key: ${fresh} effect, ${answers.length - fresh} replays`
  },

  '06 no update of a hot account is lost': async (t, stage) => {
    const id = await wallet(stage)
    const answers = await Promise.all(times(CREDITS, () => stage.next().post('/v1/grants', { wallet: id, kind: 'purchase', amount: '1' })))
    t.same(tally(answers), { 201: CREDITS })
    t.match(await balanceOf(stage, id), { balance: String(CREDITS), version: 1 + CREDITS })
    t.equal(new Set(answers.map(({ body }) => body.wallet.version)).size, CREDITS, 'each saw a state of its own')
    return `${CREDITS} credits at once, balance ${CREDITS}`
  },

  '07 value is conserved under concurrent transfers': async (t, stage) => {
    const wallets = await Promise.all(times(5, () => wallet(stage, '1000')))
    const answers = await Promise.all(
      times(TRANSFERS, (i) => {
        const [from, to] = [wallets[i % 5], wallets[(i + 1 + (i % 4)) % 5]]
        return stage.next().post('/v1/charges', { wallet: from, amount: '1.000001', payees: [{ wallet: to, share: '1' }] })
      }),
    )
    t.same(tally(answers), { 201: TRANSFERS })
    const balances = await Promise.all(wallets.map(async (id) => micro((await balanceOf(stage, id)).balance)))
    t.equal(
      balances.reduce((a, b) => a + b, 0n),
      5_000n * 1_000_000n,
    )
    return `${TRANSFERS} transfers between 5 accounts, the sum is the same to the micro-credit`
  },

  '08 a balance is the projection of its journal': async (t, stage) => {
    const ids = (await stage.next().get('/v1/wallets?limit=200')).body.data
    for (const { id, balance } of ids) t.equal(sum(await journal(stage, id)), micro(balance), id)
    return `${ids.length} accounts, each the sum of its rows`
  },

  '09 the overdraft guard holds under a concurrent drain': async (t, stage) => {
    const id = await wallet(stage, '75')
    const limited = await wallet(stage, '75', { overdraft_limit: '20' })
    const drain = async (of: string, path: string) =>
      tally(await Promise.all(times(DRAINS, () => stage.next().post(path, { wallet: of, amount: '10' }))))
    t.same(await drain(id, '/v1/charges'), { 201: 7, '402 insufficient_credits': DRAINS - 7 })
    t.same(await drain(limited, '/v1/reservations'), { 201: 7, '402 insufficient_credits': DRAINS - 7 }, 'holds never draw overdraft')
    t.same(await drain(limited, '/v1/charges'), { 201: 2, '402 insufficient_credits': DRAINS - 2 }, 'charges draw it to its limit')
    t.match(await balanceOf(stage, id), { balance: '5', debt: '0' })
    t.match(await balanceOf(stage, limited), { held: '70', debt: '15' })
    return `${DRAINS} drains of 10 on 75: 7 charges, 7 holds, then 2 charges into an overdraft of 20`
  },

  '10 many small movements do not drift': async (t, stage) => {
    const id = await wallet(stage, '1000')
    for (let sent = 0; sent < SMALL_MOVEMENTS; sent += 250) {
      const answers = await Promise.all(
        times(250, (i) => stage.next().post('/v1/charges', { wallet: id, amount: i % 2 ? '0.1' : '0.000001' })),
      )
      t.same(tally(answers), { 201: 250 })
    }
    const half = BigInt(SMALL_MOVEMENTS / 2)
    t.equal(micro((await balanceOf(stage, id)).balance), 1_000_000_000n - half * 100_000n - half)
    return `${SMALL_MOVEMENTS} movements of 0.1 and 0.000001, exact`
  },

  '11 currencies cannot be mixed': async () => 'n/a: there is one unit, the credit; money of a payment is never in the ledger',

  '12 a reversal is a compensation, never a deletion': async (t, stage) => {
    const id = await wallet(stage, '100')
    const charge = await stage.next().made('/v1/charges', { wallet: id, amount: '30' })
    const before = await journal(stage, id)
    await stage.next().made(`/v1/charges/${charge.id}/refund`, {})
    const after = await journal(stage, id)
    t.same(after.slice(0, before.length), before)
    t.match(after.slice(before.length), [{ kind: 'refund', amount: '30', charge_id: charge.id }])
    t.equal((await stage.next().get(`/v1/charges/${charge.id}`)).body.cost, '30', 'the charge is what it was')
    return 'the charge and its row stay, a row of +30 points at them'
  },

  '13 the state rebuilds exactly from the event log': async (t, stage) => {
    const wallets = (await stage.next().get('/v1/wallets?limit=200')).body.data
    let [rows, wrong] = [0, 0]
    for (const { id, balance, debt } of wallets) {
      let rebuilt = 0n
      for (const row of await journal(stage, id)) {
        rebuilt += micro(row.amount)
        if (micro(row.balance_after) !== rebuilt) wrong += 1
        rows += 1
      }
      const { data: grants } = (await stage.next().get(`/v1/wallets/${id}/grants?limit=200&open=true`)).body
      const remaining = grants.reduce((total: bigint, grant: Body) => total + micro(grant.remaining), 0n)
      t.equal(rebuilt, micro(balance))
      if (grants.length < 200) t.equal(rebuilt, remaining - micro(debt), 'and so do the grants')
    }
    t.equal(wrong, 0)
    return `${wallets.length} accounts from ${rows} rows, each state on the way as it was told`
  },

  '14 the order within an account is monotonic': async (t, stage) => {
    const wallets = (await stage.next().get('/v1/wallets?limit=200')).body.data
    let rows = 0
    for (const { id } of wallets) {
      const all = await journal(stage, id)
      const wrong = all.filter(
        ({ seq, created_at }, i) => seq !== i + 1 || (i > 0 && Date.parse(created_at) < Date.parse(all[i - 1].created_at)),
      )
      t.same(wrong, [], id)
      rows += all.length
    }
    return `${rows} rows of ${wallets.length} accounts, dense and in order of time`
  },

  '15 the duplicate of a refused submission is not reported as applied': async (t, stage) => {
    const id = await wallet(stage)
    const send = () => stage.next().post('/v1/charges', { wallet: id, amount: '5' }, { idempotencyKey: `refused-${id}` })
    const first = await send()
    t.match(first, { status: 402, body: { code: 'insufficient_credits' } })
    await stage.next().made('/v1/grants', { wallet: id, kind: 'bonus', amount: '50' })
    const again: Answer[] = await Promise.all(times(SENDERS, send))
    t.same(tally(again), { '402 insufficient_credits': SENDERS })
    t.equal(new Set([first, ...again].map(({ text }) => text)).size, 1, 'the same refusal')
    t.equal((await balanceOf(stage, id)).balance, '50')
    return `refused once, and to ${SENDERS} duplicates after credits had come`
  },
}
