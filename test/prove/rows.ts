/**
 * The long forms of the tests: what `npm run prove` runs, and what docs/proof.md shows. A row is one line; its test prints figures as
 * comments that begin with the row's name: `# F1: …`.
 */

export const PARTS = ['faults', 'model', 'attacks', 'conformance', 'mutants'] as const
export type Part = (typeof PARTS)[number]

export interface Row {
  /** What its figure lines begin with. */
  readonly name: string
  /** What of the proof it is about: faults F1–F20, attacks 1–50, invariants I01–I22. */
  readonly of: string
  readonly part: Part
  readonly shows: string
  readonly file: string
  /** Flags of the long form. Without any, it is that of the suite. */
  readonly long: readonly string[]
  /** Flags of a form that takes two minutes at most. */
  readonly short: readonly string[]
  /** It has its own server, one that does all that a production server does. */
  readonly ownServer?: true
}

const row = (
  part: Part,
  name: string,
  of: string,
  file: string,
  shows: string,
  more: Partial<Pick<Row, 'long' | 'short' | 'ownServer'>> = {},
): Row => ({ name, of, part, shows, file: `test/${file}.test.ts`, long: [], short: [], ...more })

export const ROWS: readonly Row[] = [
  row('faults', 'kill-replay', 'F1', 'journeys/kill-replay', 'a trace is replayed while the service is killed', {
    long: ['--kills=25'],
    short: ['--kills=4'],
    ownServer: true,
  }),
  row('faults', 'F1', 'F1', 'faults/service-dies', 'the service is killed under load, one process and two', {
    long: ['--operations=100000', '--kills=50'],
  }),
  row('faults', 'F2', 'F2', 'faults/postgres-dies', 'PostgreSQL is killed and stopped in four ways', {
    long: ['--stops=20'],
    ownServer: true,
  }),
  row('faults', 'F3', 'F3', 'faults/lost-answers', 'answers are lost on both sides of the service', { long: ['--operations=20000'] }),
  row('faults', 'F4', 'F4', 'faults/slow-peers', 'peers are slow, half-open, gone', { long: ['--seconds=20'] }),
  row('faults', 'F5', 'F5', 'faults/pool', 'a wallet is locked by somebody else, connections are used up'),
  row('faults', 'F6', 'F6', 'faults/overload', 'more comes than can be done', { long: ['--seconds=60'] }),
  row('faults', 'F7', 'F7', 'faults/stopped', 'processes stand still'),
  row('faults', 'F8', 'F8', 'faults/disk-full', 'no space is left', { ownServer: true }),
  row('faults', 'F9', 'F9', 'faults/clock', 'the clock of the machine is wrong and jumps'),
  row('faults', 'F14', 'F14', 'faults/rolling', 'two processes are stopped in turn', { long: ['--stops=20'] }),
  row('faults', 'F20', 'F20', 'faults/restore', 'a backup is taken under load and restored', { long: ['--seconds=30'] }),
  row('faults', 'connection', 'F2, F3', 'races/connection', 'connections break around COMMIT, backends are ended'),
  row('faults', 'outage', 'F4', 'races/outage', 'the database is away or silent'),
  row('faults', 'clock', 'F9', 'races/clock', 'the clock of the process is wrong, a lock is waited for'),
  row('faults', 'payees', 'F10', 'races/payees', 'wallets pay each other in both directions'),
  row('faults', 'order', 'F10', 'races/order', 'the same keys in opposite order, and the order within a request'),
  row('faults', 'poison', 'F10, F11', 'races/poison', 'rows that cannot be written, batches that fail with 40001, 40P01, 55P03'),
  row('faults', 'keys', 'F12', 'races/keys', 'one key and many senders, over two processes'),
  row('faults', 'twins', 'F12', 'races/twins', 'two processes with one key wait for one lock'),
  row('faults', 'deadline', 'F13', 'races/deadline', 'commit, release, extend and expiry race for a hold'),
  row('faults', 'refunds', 'F13', 'races/refunds', 'refunds race for a charge'),
  row('faults', 'redis-storm', 'F15, F16', 'realtime/storm', 'Redis is killed, frozen, flushed, cut off', {
    long: ['--minutes=10', '--wallets=200', '--sockets=50'],
    short: ['--minutes=1'],
  }),
  row('faults', 'uncommitted', 'F16', 'realtime/uncommitted', 'what was not committed is pushed to nobody'),
  row('faults', 'webhook-storm', 'F19', 'billing/storm', 'payments told in any order, again, never, through kills', {
    long: ['--payments=5000', '--kills=10'],
    short: ['--payments=300', '--kills=2'],
  }),
  row('model', 'decide', '§4', 'properties/decide', 'decisions against the oracle; a batch is a sequence', {
    long: ['--runs=10000'],
    short: ['--runs=2000'],
  }),
  row('model', 'lane', '§4', 'properties/lane', 'the lane on PostgreSQL against the oracle', {
    long: ['--runs=1000'],
    short: ['--runs=120'],
  }),
  row('model', 'charging', '§4', 'properties/charging', 'laws of captures, burn order, payees', {
    long: ['--runs=10000'],
    short: ['--runs=2000'],
  }),
  row('model', 'quote', '§4, I20', 'pricing/quote', 'quotes against the price oracle', {
    long: ['--runs=1000000'],
    short: ['--runs=50000'],
  }),
  row('model', 'recompute', '§4, I20', 'pricing/recompute', 'stored quotes work out again, wrong versions are noticed', {
    long: ['--runs=100000'],
    short: ['--runs=5000'],
  }),
  row('model', 'any-order', '§4, F19', 'billing/any-order', 'what a provider tells, in any order', {
    long: ['--runs=20000'],
    short: ['--runs=2000'],
  }),
  row('model', 'invariants', 'I01–I22', 'ledger/invariants', 'every invariant on a full book, and its mutants'),
  row('model', 'schema', '35', 'ledger/schema', 'the database refuses what the service may not write'),
  row('attacks', 'matrix', '1–4, 12–26', 'attacks/matrix', 'every route × every way of asking wrongly', { long: ['--all'] }),
  row('attacks', 'access', '1–11', 'attacks/access', 'whose is what, credentials, paths and hosts'),
  row('attacks', 'input', '12–26, 34', 'attacks/input', 'amounts, paths, queries, bytes at the socket'),
  row('attacks', 'balance', '27–29', 'races/balance', 'the last credits are given out once'),
  row('attacks', 'sockets', '41–43, F17', 'realtime/attacks', 'sockets that flood, lie and do not read'),
  row('conformance', 'conformance', '§6', 'conformance/ledger', 'the 15 invariants of ledger-conformance-kit'),
  row('mutants', 'mutants', '§4', 'mutants/mutants', 'mistakes in the source that the tests have to notice', { long: ['--all'] }),
]
