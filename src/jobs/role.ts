/** What a process does: answer requests, run the background jobs, or both. */
export const ROLES = ['all', 'api', 'worker'] as const

export type Role = (typeof ROLES)[number]

/** Reads the value of `--role`. @throws Error that names the roles there are */
export function parseRole(text: string): Role {
  const role = ROLES.find((known) => known === text)
  if (role) return role
  throw new Error(`--role must be ${ROLES.join(', ')}, not "${text}"`)
}
