import { z } from 'zod'

/** The environment, parsed once at the start and passed on as an argument. An import never reads it. */

const port = z.coerce.number().int().min(0).max(65_535)
const perMinute = z.coerce.number().int().min(1).max(1_000_000_000)
const flag = z.enum(['true', 'false']).transform((text) => text === 'true')
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
)
const origins = list.refine(
  (texts) => texts.every((text) => URL.canParse(text) && new URL(text).origin === text),
  'must be origins such as https://app.example.com: scheme and host, no path, no slash at the end',
)
const postgresUrl = z.string().regex(/^postgres(?:ql)?:\/\//, 'must start with postgresql://')
const secret = z.string().min(32, 'must have at least 32 characters')

const environment = z.object({
  /** `production` asks for everything that development makes up. */
  NODE_ENV: z.enum(['production', 'development', 'test']).default('development'),
  /** Where to listen. */
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: port.default(8080),
  /** PostgreSQL 15 or later. Without it, development starts its own in DATA_DIR. */
  DATABASE_URL: postgresUrl.optional(),
  /** Of a role that owns the tables, for `farebox migrate`, so that the one of DATABASE_URL need not. */
  MIGRATION_DATABASE_URL: postgresUrl.optional(),
  /** The embedded database and the files of a development installation. */
  DATA_DIR: z.string().min(1).default('.farebox'),
  /** Signs and verifies the tokens of people (HS256). */
  JWT_SECRET: secret.optional(),
  /** Public keys of an identity provider, instead of JWT_SECRET. */
  JWKS_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** The `iss` and `aud` that a token must have. */
  JWT_ISSUER: z.string().min(1).default('farebox'),
  JWT_AUDIENCE: z.string().min(1).default('farebox'),
  /** Host headers that are answered; all when empty. */
  ALLOWED_HOSTS: list.default([]),
  /** Proxies (addresses or CIDR blocks) whose X-Forwarded-* headers count. */
  TRUSTED_PROXIES: list.default([]),
  /** Origins of pages that may open sockets and call the API (CORS), beside the service's own. */
  ALLOWED_ORIGINS: origins.default([]),
  /** Carries changes of wallets between several processes. One process needs none. */
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'must start with redis:// or rediss://')
    .optional(),
  /** Requests a minute that one API key or person may send: to reserve, commit and whatever else writes … */
  RATE_LIMIT_USAGE: perMinute.default(3_000_000),
  /** … to read … */
  RATE_LIMIT_READS: perMinute.default(600_000),
  /** … and to administrate. */
  RATE_LIMIT_ADMIN: perMinute.default(60_000),
  /** Requests a minute from one address that no valid credential speaks for: wrong ones, sockets that open, webhooks, pages. */
  RATE_LIMIT_PUBLIC: perMinute.default(60_000),
  /** Takes payments by Stripe: `sk_…` or `rk_…`. Without it development has a sandbox, and production takes none. */
  STRIPE_SECRET_KEY: z
    .string()
    .regex(/^(?:sk|rk)_(?:test|live)_[A-Za-z0-9_]+$/, 'must look like sk_live_… or sk_test_…')
    .optional(),
  /** Secrets of the webhook endpoint, `whsec_…`; two while they are changed. */
  STRIPE_WEBHOOK_SECRET: list
    .refine((secrets) => secrets.every((secret) => /^whsec_.{16,}$/.test(secret)), 'must look like whsec_…')
    .default([]),
  /** Where Stripe answers, for tests. Refused in production. */
  STRIPE_API_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Where customers are sent after paying, unless the purchase says where. */
  CHECKOUT_RETURN_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Origins that purchases may name to send customers to. */
  CHECKOUT_RETURN_ORIGINS: origins.default([]),
  /** Where /metrics is served to everyone who reaches it, apart from the service. Without it a key with the scope `metrics:read` is asked for. */
  METRICS_PORT: port.optional(),
  METRICS_HOST: z.string().min(1).default('127.0.0.1'),
  /** The base URL of an OpenTelemetry collector (OTLP over HTTP); without it no spans are made. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  OTEL_SERVICE_NAME: z.string().min(1).default('farebox'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  /** Serve /docs. On in development, off in production unless set. */
  DOCS: flag.optional(),
})

export type Environment = z.output<typeof environment>

export interface Config extends Readonly<Omit<Environment, 'DOCS'>> {
  readonly DOCS: boolean
}

/** What is wrong with the environment, one line for each variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly lines: readonly string[]

  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

/**
 * Reads the configuration. An empty variable counts as absent.
 * @throws ConfigError with one clear line for each variable that is missing or malformed
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
  const parsed = environment.safeParse(given)
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`))
  }
  const config = parsed.data
  if (config.METRICS_PORT !== undefined && config.METRICS_PORT !== 0 && config.METRICS_PORT === config.PORT) {
    throw new ConfigError(['METRICS_PORT: must be another port than PORT, or absent'])
  }
  // Without one everybody could sign.
  if (config.STRIPE_SECRET_KEY && config.STRIPE_WEBHOOK_SECRET.length === 0) {
    throw new ConfigError(['STRIPE_WEBHOOK_SECRET: is required with STRIPE_SECRET_KEY (whsec_…, from the webhook endpoint in Stripe)'])
  }
  if (config.NODE_ENV === 'production') {
    const missing: string[] = []
    if (!config.DATABASE_URL) missing.push('DATABASE_URL: is required in production (postgresql://user:password@host/database)')
    if (!config.JWT_SECRET && !config.JWKS_URL)
      missing.push('JWT_SECRET: is required in production, at least 32 characters (or set JWKS_URL)')
    if (config.STRIPE_API_URL) missing.push('STRIPE_API_URL: is for tests and cannot be set in production')
    if (missing.length > 0) throw new ConfigError(missing)
  }
  return Object.freeze({ ...config, DOCS: config.DOCS ?? config.NODE_ENV !== 'production' })
}

/** What of a configuration nobody may see, as it was given. */
export function secretsOf(config: Config): string[] {
  const passwords = [config.DATABASE_URL, config.REDIS_URL].flatMap((url) => {
    const password = url !== undefined && URL.canParse(url) ? new URL(url).password : ''
    return /%(?![0-9A-Fa-f]{2})/.test(password) ? [password] : [password, decodeURIComponent(password)]
  })
  const secrets = [config.JWT_SECRET, config.STRIPE_SECRET_KEY, ...config.STRIPE_WEBHOOK_SECRET, ...passwords]
  return [...new Set(secrets)].filter((secret) => secret !== undefined && secret !== '') as string[]
}

/** Who takes payments. */
export type Payments = { readonly stripe: { readonly secretKey: string; readonly apiUrl: string | undefined } } | 'sandbox'

/** Stripe where there is a key, in development otherwise a sandbox, in production nobody. */
export function paymentsOf(config: Pick<Config, 'NODE_ENV' | 'STRIPE_SECRET_KEY' | 'STRIPE_API_URL'>): Payments | null {
  if (config.STRIPE_SECRET_KEY) return { stripe: { secretKey: config.STRIPE_SECRET_KEY, apiUrl: config.STRIPE_API_URL } }
  return config.NODE_ENV === 'production' ? null : 'sandbox'
}
