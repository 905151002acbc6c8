/**
 * What PostgreSQL gets of our environment: never our secrets, which its account could read back from /proc, and no PG… variable,
 * which would change where it listens. Messages in English, because the reason of a failed start is read from them.
 */
export function childEnvironment(): Record<string, string> {
  const environment: Record<string, string> = { LC_ALL: 'C', TZ: 'UTC' }
  for (const name of ['PATH', 'SystemRoot', 'TEMP', 'TMP', 'TMPDIR']) {
    const value = process.env[name]
    if (value !== undefined) environment[name] = value
  }
  return environment
}
