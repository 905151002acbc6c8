/**
 * Mistakes that the tests have to notice. Each is one change of the source that a hurried hand could make, and names the test that
 * dies of it. The texts are exact: one that is no longer found exactly once has to be written anew.
 */

export interface Edit {
  readonly file: string
  readonly from: string
  readonly to: string
}

export interface Mutant {
  readonly name: string
  readonly edits: readonly Edit[]
  /** The test that must fail, with its flags where the suite's own form is more than it takes. */
  readonly killer: readonly [file: string, ...flags: string[]]
  /** Dies within seconds, without a server: also done in every run of the suite. */
  readonly fast?: true
}

const DECIDE = ['test/properties/decide.test.ts', '--runs=400'] as const
const edit = (file: string, from: string, to: string): Edit => ({ file, from, to })

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'idempotency is looked up before the lock',
    edits: [
      edit(
        'src/ledger/batch-pg.ts',
        `    const locked = connection.query<WalletSqlRow>(lockWallets(walletIds))
    const keyed = connection.query<KeySqlRow>(readKeysAndClock(batch))
`,
        `    const keyed = connection.query<KeySqlRow>(readKeysAndClock(batch))
    const locked = connection.query<WalletSqlRow>(lockWallets(walletIds))
`,
      ),
    ],
    killer: ['test/races/twins.test.ts'],
  },
  {
    name: 'idempotency is written in a transaction of its own',
    edits: [
      edit(
        'src/ledger/batch-pg.ts',
        'if (records.length > 0) statements.push(insertKeys([...records].sort(byKey)))',
        'if (records.length > 1e9) statements.push(insertKeys([...records].sort(byKey)))',
      ),
      edit(
        'src/ledger/batch-pg.ts',
        '    for (const { table } of stores) {\n      for (const row of book.changes(table).inserted)',
        '    if (records.length > 0) await connection.query<never>(insertKeys(records))\n    for (const { table } of stores) {\n      for (const row of book.changes(table).inserted)',
      ),
    ],
    killer: ['test/races/keys.test.ts'],
  },
  {
    name: 'a twin in another process is a fault, not a reason to look again',
    edits: [
      edit(
        'src/platform/sqlstate.ts',
        `if (RETRY.has(sqlstate) || isKeyRace(error, sqlstate)) return 'retry'`,
        `if (RETRY.has(sqlstate)) return 'retry'`,
      ),
    ],
    killer: ['test/races/keys.test.ts'],
  },
  {
    name: 'a lost COMMIT is executed again without a look at the records',
    edits: [
      edit(
        'src/ledger/lane.ts',
        `batch.map((waiting) => waiting.command),`,
        `batch.map(({ command }) => (attempt === 1 ? command : { ...command, idempotency: null })),`,
      ),
    ],
    killer: ['test/races/connection.test.ts'],
  },
  {
    name: 'a lost COMMIT is taken for done',
    edits: [
      edit(
        'src/ledger/batch-pg.ts',
        `    await allOrFirstError([...writes, committed])
    if ((await committed) !== 'COMMIT') throw new ConnectionLost('COMMIT was answered with a rollback')
`,
        `    await allOrFirstError(writes)
    await committed.catch(() => {})
`,
      ),
    ],
    killer: ['test/races/connection.test.ts'],
  },
  {
    name: 'a refusal is not stored',
    edits: [edit('src/ledger/decide-batch.ts', 'records.push(added)', 'if (decision.ok) records.push(added)')],
    killer: ['test/api/idempotency.test.ts'],
  },
  {
    name: 'the second command decides on the first state of the batch',
    edits: [
      edit(
        'src/ledger/book.ts',
        `  wallet(id: string): Wallet | undefined {
    return this.#wallets.get(id)
  }

  get<Row`,
        `  wallet(id: string): Wallet | undefined {
    return this.#loadedWallets.get(id)
  }

  get<Row`,
      ),
    ],
    killer: DECIDE,
    fast: true,
  },
  {
    name: 'wallets are locked in no order',
    edits: [
      edit(
        'src/ledger/batch-pg.ts',
        'where id = any($1::uuid[]) order by id for no key update',
        'where id = any($1::uuid[]) order by random() for no key update',
      ),
    ],
    killer: ['test/races/payees.test.ts'],
  },
  {
    name: 'wallets are read without a lock',
    edits: [edit('src/ledger/batch-pg.ts', ' order by id for no key update`', ' order by id`')],
    killer: ['test/races/balance.test.ts'],
  },
  {
    name: 'balances are published before COMMIT',
    edits: [
      edit(
        'src/ledger/batch-pg.ts',
        '    const writes = writeStatements(',
        '    onCommitted?.(book.walletChanges())\n    const writes = writeStatements(',
      ),
    ],
    killer: ['test/realtime/uncommitted.test.ts'],
  },
  {
    name: 'decisions read the clock of the process',
    edits: [edit('src/ledger/batch-pg.ts', 'now: Number((rows[0] as KeySqlRow).now) }', 'now: Date.now() + 0 * rows.length }')],
    killer: ['test/races/clock.test.ts'],
  },
  {
    name: 'the time is that of the begin, not that after the lock',
    edits: [edit('src/ledger/batch-pg.ts', 'extract(epoch from clock_timestamp())', 'extract(epoch from now())')],
    killer: ['test/races/clock.test.ts'],
  },
  {
    name: 'a hold draws on the overdraft',
    edits: [
      edit(
        'src/reservations/reserve.ts',
        'holdOf(requested, available(wallet), input.partial)',
        'holdOf(requested, available(wallet) + wallet.overdraftLimit - wallet.debt, input.partial)',
      ),
    ],
    killer: DECIDE,
  },
  {
    name: 'a charge is rounded down',
    edits: [
      edit(
        'src/pricing/quote.ts',
        'ceil({ n: exact.n, d: exact.d * step }) * step',
        '(exact.n / (exact.d * step)) * step + 0n * ceil({ n: 0n, d: 1n })',
      ),
    ],
    killer: ['test/pricing/quote.test.ts'],
    fast: true,
  },
  {
    name: 'every line of a charge is rounded',
    edits: [edit('src/pricing/quote.ts', 'else n += cost * BigInt(count)', 'else n += ((cost * BigInt(count) + d - 1n) / d) * d')],
    killer: ['test/pricing/quote.test.ts'],
  },
  {
    name: 'the price is read at commit',
    edits: [
      edit(
        'src/reservations/commit.ts',
        'if (sameModel && sameOperation) return done(frozen)',
        `if (sameModel && sameOperation) {
    const [model, operation] = [frozen.model?.id ?? null, frozen.operation?.id ?? null]
    return termsAt(prices, Number.MAX_SAFE_INTEGER, { model, provider: frozen.model?.provider ?? null, operation })
  }`,
      ),
    ],
    killer: DECIDE,
  },
  {
    name: 'a refund looks at the charge and not at the refunds before',
    edits: [edit('src/charges/refund.ts', 'const left = total - charge.refunded', 'const left = total')],
    killer: DECIDE,
  },
  {
    name: 'free credits do not repay debt',
    edits: [edit('src/grants/settle.ts', '  repayDebt(draft, walletId)\n', '  if (posted) repayDebt(draft, walletId)\n')],
    killer: DECIDE,
  },
  {
    name: 'a hold does not raise the version',
    edits: [
      edit(
        'src/ledger/book.ts',
        'const first = !this.#wallets.has(wallet.id)',
        'const first = !this.#wallets.has(wallet.id) && wallet.balance !== this.#book.wallet(wallet.id)?.balance',
      ),
    ],
    killer: DECIDE,
  },
  {
    name: 'a client takes in the version that it has',
    edits: [edit('src/client/store.ts', 'balance.version > last.version', 'balance.version >= last.version')],
    killer: ['test/client/store.test.ts'],
  },
  {
    name: 'a client takes in an older version',
    edits: [edit('src/client/store.ts', 'balance.version > last.version', 'balance.version !== last.version')],
    killer: ['test/client/store.test.ts'],
  },
  {
    name: 'a service sends an older version',
    edits: [
      edit(
        'src/realtime/feed.ts',
        'if (before && before.epoch === epoch && figures.version <= before.version) return',
        'if (before && before.epoch === epoch && figures.version === before.version) return',
      ),
    ],
    killer: ['test/realtime/feed.test.ts'],
  },
  {
    name: 'Stripe is deduplicated by event id only: another event of a payment credits again',
    edits: [
      edit(
        'src/billing/apply-payment.ts',
        `  if (found.status !== 'paid') {
    if (state.status === 'paid') {`,
        `  if (found.status !== 'paid' || state.status === 'paid') {
    if (state.status === 'paid') {`,
      ),
    ],
    killer: ['test/billing/apply-payment.test.ts'],
  },
  {
    name: 'an older reading of a payment is applied after a younger one',
    edits: [
      edit('src/billing/apply-payment.ts', 'if (input.read <= found.appliedRead) return', 'if (input.read === found.appliedRead) return'),
    ],
    killer: ['test/billing/any-order.test.ts'],
  },
  ...deadlines(),
]

/** An end that equals the time has passed: `<` for `<=`, each place for itself. */
function deadlines(): Mutant[] {
  const at = (what: string, file: string, from: string, to: string, killer: Mutant['killer']): Mutant => ({
    name: `< for <= at ${what}`,
    edits: [edit(file, from, to)],
    killer,
  })
  return [
    at(
      'the deadline of a hold',
      'src/reservations/reservation.ts',
      'return reservation.expiresAt <= now',
      'return reservation.expiresAt < now',
      ['test/reservations/commit.test.ts'],
    ),
    at('the expiry of a grant', 'src/grants/grant.ts', 'grant.expiresAt <= now)', 'grant.expiresAt < now)', ['test/grants/settle.test.ts']),
    at('the time from which a grant counts', 'src/grants/settle.ts', 'grant.effectiveAt <= draft.now', 'grant.effectiveAt < draft.now', [
      'test/grants/issue.test.ts',
    ]),
    at(
      'the expiry of a new grant',
      'src/grants/issue.ts',
      'input.expiresAt <= Math.max(effectiveAt, draft.now)',
      'input.expiresAt < Math.max(effectiveAt, draft.now)',
      ['test/grants/issue.test.ts'],
    ),
    at('the time from which a price holds', 'src/pricing/prices.ts', 'version.effectiveFrom <= at', 'version.effectiveFrom < at', [
      'test/reservations/reserve.test.ts',
    ]),
    at('the end of a credential', 'src/auth/principal-cache.ts', 'now >= expiresAt) return null', 'now > expiresAt) return null', [
      'test/auth/authenticate.test.ts',
    ]),
  ]
}
