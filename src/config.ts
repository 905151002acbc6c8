import { z } from 'zod'

/** The environment, parsed once at the start and passed on as an argument. An import never reads it. */

const port = z.coerce.number().int().min(0).max(65_535)
const flag = z.enum(['true', 'false']).transform((text) => text === 'true')
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
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
  /** Origins of pages whose browsers may open sockets, beside the service's own. */
  ALLOWED_ORIGINS: list.default([]),
  /** Carries changes of wallets between several processes. One process needs none. */
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'must start with redis:// or rediss://')
    .optional(),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  /** Serve /docs. On in development, off in production unless set. */
  DOCS: flag.optional(),
  /** Run the background jobs in this process. */
  JOBS: flag.default(true),
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
  if (config.NODE_ENV === 'production') {
    const missing: string[] = []
    if (!config.DATABASE_URL) missing.push('DATABASE_URL: is required in production (postgresql://user:password@host/database)')
    if (!config.JWT_SECRET && !config.JWKS_URL)
      missing.push('JWT_SECRET: is required in production, at least 32 characters (or set JWKS_URL)')
    if (missing.length > 0) throw new ConfigError(missing)
  }
  return Object.freeze({ ...config, DOCS: config.DOCS ?? config.NODE_ENV !== 'production' })
}
