import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { SignJWT } from 'jose'
import { DEFAULT_CLIENT_NAME } from '../auth/create-client.ts'
import { type Role, SUBJECT_PATTERN } from '../auth/principal.ts'
import { SECRET_ALGORITHM } from '../auth/token-verifier.ts'
import { type Config, readConfig } from '../config.ts'
import { newId } from '../kernel/ids.ts'
import { examples, Failure, integer, newCommand, note, type Ports, print } from './command.ts'
import { shown } from './database.ts'

const TTL_SECONDS_DEFAULT = 900
/** Long enough for a day of work with a console; whoever needs more needs a key. */
const TTL_SECONDS_MAX = 86_400
const JWT_SECRET_FILE = 'jwt-secret'

export function command(ports: Ports): Command {
  const mint = newCommand('mint', 'Mint a token for a person, as the service takes it. It is all that is printed on standard output.')
    .requiredOption('--sub <name>', 'the person; the token reads the wallets of user:<name> and pays for them', parseSubject)
    .option('--client <name>', 'whose person that is: the name of a client or its id, cli_…', DEFAULT_CLIENT_NAME)
    .addOption(
      new Option('--role <role>', 'admin also reaches the admin routes, and the wallets of everybody')
        .choices(['user', 'admin'])
        .default('user'),
    )
    .option('--ttl-seconds <n>', 'how long it counts', integer(1, TTL_SECONDS_MAX), TTL_SECONDS_DEFAULT)
    .addHelpText(
      'after',
      `${examples(
        'farebox token mint --sub alice',
        'TOKEN=$(farebox token mint --sub alice)',
        'farebox token mint --sub operator --role admin --ttl-seconds 3600',
      )}
It is signed with JWT_SECRET, or with the secret that development keeps in
DATA_DIR. No database is asked: a client that does not exist makes a token that
the service refuses.`,
    )
    .action((options: MintOptions) => mintToken(readConfig(ports.env), options))

  return newCommand('token', 'Mint a token for a person.').addCommand(mint).addHelpText('after', examples('farebox token mint --sub alice'))
}

interface MintOptions {
  readonly sub: string
  readonly client: string
  readonly role: Role
  readonly ttlSeconds: number
}

async function mintToken(config: Config, { sub, client, role, ttlSeconds }: MintOptions): Promise<void> {
  const secret = secretOf(config)
  const issuedAt = Math.floor(Date.now() / 1_000)
  const expiresAt = issuedAt + ttlSeconds
  const token = await new SignJWT({ client_id: client, role })
    .setProtectedHeader({ alg: SECRET_ALGORITHM, typ: 'JWT' })
    .setSubject(sub)
    .setIssuer(config.JWT_ISSUER)
    .setAudience(config.JWT_AUDIENCE)
    .setJti(newId())
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAt)
    .sign(new TextEncoder().encode(secret))
  note(`For ${role} ${sub} of client ${client}, until ${new Date(expiresAt * 1_000).toISOString()}:`)
  print(token)
}

function secretOf(config: Config): string {
  if (config.JWT_SECRET) return config.JWT_SECRET
  if (config.JWKS_URL) {
    throw new Failure(
      'Tokens come from the identity provider of JWKS_URL, and there is no JWT_SECRET to sign one with. Take it from there.',
    )
  }
  const file = join(config.DATA_DIR, JWT_SECRET_FILE)
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  throw new Failure(
    `There is no secret to sign with: JWT_SECRET is not set and ${shown(file)} is not there. The first start of the service makes it.`,
  )
}

function parseSubject(text: string): string {
  if (!SUBJECT_PATTERN.test(text)) throw new InvalidArgumentError('must be 1 to 128 letters, digits or . _ @ + -')
  return text
}
