import { z } from 'zod'
import { CREDITS_PATTERN, parseCredits, SIGNED_CREDITS_PATTERN } from '../kernel/credits.ts'
import { type IdKind, wireIdPattern } from '../kernel/ids.ts'

/** The fields that requests and answers are made of. Strict: nothing is coerced, everything is bounded. */

const AMOUNT_MESSAGE = 'must be a decimal string of credits such as "12.5": at most 6 decimals and 1000000000000, no sign, no exponent'
const notAmount = ({ input }: { readonly input?: unknown }) => (input === undefined ? 'is required' : AMOUNT_MESSAGE)
const withinRange = (text: string) => parseCredits(text) !== null
const aboveZero = (text: string) => /[1-9]/.test(text)

/** Credits, zero allowed. */
export const creditsOrZero = z
  .string({ error: notAmount })
  .regex(CREDITS_PATTERN, AMOUNT_MESSAGE)
  .refine(withinRange, AMOUNT_MESSAGE)
  .meta({ example: '12.5' })

/** Credits above zero. */
export const credits = creditsOrZero.refine(aboveZero, 'must be more than 0').meta({ example: '12.5' })

/** Credits with a sign, not zero. */
export const signedCredits = z
  .string({ error: notAmount })
  .regex(SIGNED_CREDITS_PATTERN, 'must be a decimal string of credits such as "12.5" or "-3"')
  .refine(withinRange, AMOUNT_MESSAGE)
  .refine(aboveZero, 'must not be 0')
  .meta({ example: '-3' })

/** Credits in an answer: balances in debt are negative. */
export const creditsOut = z.string().meta({ description: 'Credits, as a decimal string', example: '12.5' })

/** A wire id of one kind. */
export function id(kind: IdKind) {
  const pattern = wireIdPattern(kind)
  return z.string().regex(pattern, `must look like ${pattern.source.slice(1, 5)}… with 32 hexadecimal digits`)
}

export const OWNER_PATTERN = /^[a-z][a-z0-9_]{0,31}:[A-Za-z0-9._@+|:-]{1,128}$/
const WALLET_PATTERN = /^(?:wal_[0-9a-f]{32}|[a-z][a-z0-9_]{0,31}:[A-Za-z0-9._@+|:-]{1,128})$/

/** An owner: `user:alice`, `org:acme`. */
export const owner = z.string().regex(OWNER_PATTERN, 'must be an owner such as "user:alice"').meta({ example: 'user:alice' })

/** A wallet, by id or by owner. */
export const wallet = z
  .string()
  .regex(WALLET_PATTERN, 'must be a wallet id (wal_…) or an owner such as "user:alice"')
  .meta({ description: 'A wallet by id (wal_…) or by owner', example: 'user:alice' })

/** Text without control characters: it ends up in logs, ledgers and exports. */
export function text(lengthMax: number) {
  return z
    .string()
    .min(1)
    .max(lengthMax)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters')
}

/** The caller's own mark on what it causes: a job, a message, an invoice. */
export const reference = text(200)

/** Up to 32 keys with short values, kept and returned as given. */
export const metadata = z
  .record(text(64), z.union([text(500), z.number(), z.boolean()]))
  .refine((record) => Object.keys(record).length <= 32, 'must have at most 32 keys')

/** RFC 3339 with offset or Z; stored to the millisecond. */
export const time = z.iso
  .datetime({ offset: true, message: 'must be an RFC 3339 time such as "2026-01-31T12:00:00Z"' })
  .refine((value) => {
    const year = new Date(value).getUTCFullYear()
    return year >= 2000 && year < 2200
  }, 'must lie between the years 2000 and 2200')
  .meta({ example: '2026-01-31T12:00:00Z' })

export const timeOut = z.string().meta({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })

/** A model as its provider names it. */
export const modelId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$/, 'must be a model id such as "gpt-4o-mini"')
  .meta({ example: 'gpt-4o-mini' })

/** A named operation with a price of its own. */
export const operationId = z
  .string()
  .regex(/^[a-z][a-z0-9_.]{0,99}$/, 'must be an operation such as "script_generation"')
  .meta({ example: 'script_generation' })

/** The largest count of one request, so that sums of them stay exact. */
export const COUNT_MAX = 1_000_000_000

/** A count of tokens. */
export const tokens = z.int().min(0).max(COUNT_MAX)

/** A count of units of an operation. */
export const units = z.int().min(0).max(1_000_000)

/** Who serves a model, as price lists name it. */
export const providerId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a provider such as "openai"')
  .meta({ example: 'openai' })

/** The figures of a wallet, as they were right after the command. */
export const walletFigures = z
  .object({
    id: id('wallet'),
    version: z.int().meta({ description: 'Rises with every change of the wallet' }),
    balance: creditsOut,
    held: creditsOut,
    available: creditsOut,
    debt: creditsOut,
  })
  .meta({ id: 'WalletFigures' })

export const metadataOut = z.record(z.string(), z.unknown()).nullable()
