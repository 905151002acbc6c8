/** The attacks of the proof by their numbers, and which test sends each. */

export interface Attack {
  /** A number, or two with a dash between them. */
  readonly rows: string
  readonly sent: string
  readonly shownBy: readonly (readonly [file: string, title: string])[]
  /** What of it no test of these shows, and why. */
  readonly open?: string
}

const MATRIX = 'attacks/matrix.test.ts'
const ACCESS = 'attacks/access.test.ts'
const INPUT = 'attacks/input.test.ts'
const LEAKS = 'attacks/leaks.test.ts'
const TOKENS = 'auth/tokens.test.ts'
const attack = (rows: string, sent: string, shownBy: Attack['shownBy'], open?: string): Attack => ({
  rows,
  sent,
  shownBy,
  ...(open !== undefined && { open }),
})

export const ATTACKS: readonly Attack[] = [
  attack('1', 'a key of another client on wallets, holds, charges, grants, payments, streams', [
    [MATRIX, 'what another client has is not there, in the same words as what never was'],
    [ACCESS, 'a person of another client, and another person of the same one, see nothing'],
  ]),
  attack('2', "another client's Idempotency-Key and body", [['api/idempotency.test.ts', 'a key belongs to a client and an operation']]),
  attack('3', 'people and keys without the scope on every route', [
    [MATRIX, 'keys without the scope'],
    [MATRIX, 'people where a key is needed'],
    [ACCESS, 'a batch is no way around a scope'],
  ]),
  attack('4', 'no credential, a malformed one, a revoked one', [
    [MATRIX, 'no credential, or one that is none or was revoked'],
    [ACCESS, 'whatever is wrong with a credential, the answer is one'],
  ]),
  attack('5', 'hosts and paths that are spelled to be taken for others', [
    [ACCESS, 'spellings of a path and a host do not open admin routes'],
  ]),
  attack('6', 'X-Forwarded-For that changes, against limits of rate', [
    ['http/rate-limit.test.ts', 'strangers are counted by address, and those who are known go on beside them'],
    ['http/rate-limit.test.ts', 'behind a proxy that is trusted the address is what it says'],
  ]),
  attack('7', 'tokens without a signature, signed with the public key, with keys of their own', [
    [TOKENS, 'are refused when they are not signed, or with something else'],
    [TOKENS, 'cannot be made from the public key'],
    [TOKENS, 'are refused when the header is not ours'],
  ]),
  attack('8', 'tokens with a claim that is missing, wrong, too early or too late', [
    [TOKENS, 'are refused when a claim is missing or wrong'],
  ]),
  attack('9', 'two tokens with the same beginning', [[TOKENS, 'with the same beginning are two people']]),
  attack('10', 'a thousand unknown key ids', [[TOKENS, 'with a thousand unknown key ids cause at most one fetch']]),
  attack('11', 'a key that was revoked, on every process and on open sockets', [
    [ACCESS, 'a revoked key is refused at once where it was revoked, and within a minute elsewhere'],
    ['realtime/revocation.test.ts', 'a revoked key: its sockets, however they were opened, and its streams'],
  ]),
  attack('12', 'what is not an amount, in every field of money', [
    [INPUT, 'what is not an amount is 400 with a pointer, in every field of money'],
  ]),
  attack('13', 'an amount of zero', [[INPUT, 'zero is an amount only where nothing may be meant']]),
  attack('14', 'amounts that a double or a BIGINT cannot hold', [
    [INPUT, 'the largest amounts are exact, beyond them it is a refusal'],
    [MATRIX, 'each field of each body, wrong in turn'],
  ]),
  attack('15', 'a commit without an amount', [[INPUT, 'an absent amount never means all']]),
  attack('16', 'unknown fields, in every object', [[MATRIX, 'each field of each body, wrong in turn']]),
  attack('17', 'fields that are named twice', [
    [MATRIX, 'each field of each body, wrong in turn'],
    ['http/json.test.ts', 'a duplicate key anywhere in any spelling is found and pointed to'],
  ]),
  attack('18', '`__proto__` and `constructor.prototype`, escaped too', [
    [MATRIX, 'bodies that no route takes'],
    ['http/json.test.ts', 'prototype poisoning is refused, escaped or nested'],
  ]),
  attack('19', 'bodies of other content types', [
    [MATRIX, 'content types'],
    [INPUT, 'content types'],
  ]),
  attack('20', 'bodies that are too large, too deep or compressed', [
    [INPUT, 'a body that is larger than it says, or says too much'],
    [MATRIX, 'bodies that no route takes'],
  ]),
  attack('21', 'requests that two parsers read in two ways, heads of 20 KB', [
    [INPUT, 'smuggling'],
    ['http/hardening.test.ts', 'requests that two parsers could read in two ways are refused'],
  ]),
  attack('22', 'heads and bodies that never end, idle connections', [
    ['http/hardening.test.ts', 'slow headers end with 408 after five seconds'],
    ['http/hardening.test.ts', 'a dripped body ends with 408 within 11.5 s'],
    ['http/hardening.test.ts', '1,000 slow and idle clients do not slow the others'],
  ]),
  attack('23', 'paths with NUL, broken escapes and ids of other things', [
    [MATRIX, 'paths'],
    [INPUT, 'ids, paths and queries'],
  ]),
  attack('24', 'cursors of others, limits without end, SQL in filters', [
    [MATRIX, 'queries'],
    ['http/page.test.ts', 'an altered cursor is refused, whichever character'],
  ]),
  attack('25', 'no Idempotency-Key, or one that is none', [[MATRIX, 'idempotency keys']]),
  attack('26', 'the same key with another body', [['api/idempotency.test.ts', 'another body under the same key is 422, and does nothing']]),
  attack('27', 'a hundred reserves of the whole balance at once', [
    ['races/balance.test.ts', 'of 100 reserves of the whole balance at once exactly one holds'],
  ]),
  attack('28', '20 × 75 on 500', [
    ['races/balance.test.ts', '20 times 75 of 500 holds exactly 6 times: in one batch request'],
    ['races/balance.test.ts', '20 times 75 of 500 holds exactly 6 times: over two lanes, in batches and alone, twenty times'],
  ]),
  attack('29', 'a reserve beside an overdraft', [
    ['reservations/reserve.test.ts', 'never draws overdraft'],
    ['conformance/ledger.test.ts', '09 the overdraft guard holds under a concurrent drain'],
  ]),
  attack('30', 'a commit of what is foreign, released or unknown', [
    [MATRIX, 'what another client has is not there, in the same words as what never was'],
    ['reservations/commit.test.ts', 'committed and released reservations refuse, each with its code'],
  ]),
  attack('31', 'eleven times the hold; a commit that is late', [
    ['reservations/commit.test.ts', 'refuses ten times the request and more unless forced, over all captures'],
    ['races/deadline.test.ts', 'holds that nobody settles expire once, however many sweep'],
  ]),
  attack('32', 'holds on a frozen wallet, and what goes on there', [
    ['reservations/reserve.test.ts', 'frozen and closed wallets take no holds, and what is not yours is not there'],
    ['reservations/commit.test.ts', 'goes on in frozen and closed wallets'],
  ]),
  attack('33', 'refunds beyond the charge, at once, of a refund, of nothing', [
    ['races/refunds.test.ts', '50 partial refunds past 100 % stop at the charge'],
    [INPUT, 'money in impossible directions'],
  ]),
  attack('34', 'a payee that is the payer, shares above the whole, negative grants', [[INPUT, 'money in impossible directions']]),
  attack('35', 'UPDATE, DELETE, TRUNCATE on what is only added to', [
    ['ledger/schema.test.ts', 'append-only tables take no change'],
    ['platform/rights.test.ts', 'a full book is made without a right too many, and none of it can be rewritten'],
    ['conformance/ledger.test.ts', '02 the journal is append-only'],
  ]),
  attack('36', 'webhooks that Stripe did not sign, or not just now', [
    ['billing/webhook.test.ts', 'what Stripe did not sign, or not just now, is refused and leaves nothing'],
  ]),
  attack('37', 'events of another mode, currency, amount, order or shape', [
    ['billing/webhook.test.ts', 'a payment that does not fit its order is parked until somebody mends it'],
    ['billing/webhook.test.ts', 'what is signed and of no known shape is never a failure of ours'],
  ]),
  attack('38', 'one event a hundred times at once, two events of one payment', [
    ['billing/races.test.ts', 'one event a hundred times at once is one grant'],
    ['billing/races.test.ts', 'payment_intent.succeeded beside checkout.session.completed is one grant'],
  ]),
  attack('39', 'prices of zero, below zero, in the past, thousands of times off', [
    ['api/price-admin.test.ts', 'zero and orders of magnitude are refused unless somebody insists'],
    ['api/price-admin.test.ts', 'what is not a price is 400, with its place, and nothing changes'],
    [INPUT, 'prices'],
  ]),
  attack('40', 'unknown and disabled models, usage that makes no sense', [
    [INPUT, 'usage that makes no sense is refused, never billed as nothing'],
    ['pricing/quote.test.ts', 'what has no price is refused by name, never free'],
  ]),
  attack('41', 'pages of other origins at the socket', [
    ['realtime/protocol.test.ts', 'a page of an origin that is not allowed is refused'],
  ]),
  attack('42', 'tokens in the query, tickets twice or late, tokens given back', [
    ['realtime/protocol.test.ts', 'is refused with a problem, before the 101'],
    ['realtime/protocol.test.ts', 'of a hundred who try at once one gets in'],
    ['realtime/protocol.test.ts', 'takes a token as a subprotocol or a header, and gives nothing back'],
  ]),
  attack('43', 'ten thousand subscriptions, large frames, many pieces, floods, no reader', [
    ['realtime/attacks.test.ts', 'ten thousand wallets in one call'],
    ['realtime/attacks.test.ts', 'in 16,000 pieces end with 1008'],
    ['realtime/attacks.test.ts', 'and calls on and on is cut off with 1013, and nobody else is held up'],
  ]),
  attack('44', 'addresses of webhooks that lead inside', [
    ['attacks/outbound.test.ts', 'at save'],
    ['attacks/outbound.test.ts', 'at dial'],
    ['attacks/outbound.test.ts', 'redirects, sizes and times'],
  ]),
  attack('45', 'a database that is away or errs', [
    [LEAKS, 'what the database says stays in the log (P2010, 42703)'],
    [LEAKS, 'a database that is away is named by no name'],
  ]),
  attack('46', 'secrets through every path, lines that look like those of the log', [
    [LEAKS, 'through every path, into no log and no answer'],
    [LEAKS, 'a caller cannot write a line of the log'],
  ]),
  attack('47', 'request ids of 10 KB and with line ends', [[LEAKS, 'a request id is a plain word or a new one']]),
  attack('48', 'configurations that would believe anybody', [
    [ACCESS, 'a configuration that would believe anybody is refused'],
    ['http/metrics.test.ts', 'who may read them'],
    ['platform/rights.test.ts', 'production refuses to run as a superuser'],
  ]),
  attack('49', 'cells of exports that are formulas', [], 'there are no exports yet'),
  attack('50', 'texts of 64 KB in each field', [[MATRIX, 'each field of each body, wrong in turn']]),
]
