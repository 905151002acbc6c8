import { readdirSync, readFileSync } from 'node:fs'

/** Ticks of /proc in a second, on every Linux that Node runs on. */
const TICKS = 100

/**
 * Seconds that a process and its children, also those that have ended, were on a core; null where the system does not tell.
 * Other work on the machine lowers rates, but hardly this.
 */
export function cpuSecondsOf(pid: number): number | null {
  if (process.platform !== 'linux') return null
  let ticks = 0
  for (const entry of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(entry)) continue
    try {
      // The name, in parentheses, may hold anything. After it: state, parent, …; user and system time are the 14th and 15th field.
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const fields = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number)
      const [parent, user, system, childrenUser, childrenSystem] = [1, 11, 12, 13, 14].map((index) => fields[index] ?? 0) as [
        number,
        number,
        number,
        number,
        number,
      ]
      if (Number(entry) === pid) ticks += user + system + childrenUser + childrenSystem
      else if (parent === pid) ticks += user + system
    } catch {
      // It ended meanwhile, and its parent has its time.
    }
  }
  return ticks / TICKS
}

/** What all cores together have done since they started, in ticks; null where the system does not tell. */
export function coreTicks(): { readonly all: number; readonly idle: number; readonly stolen: number } | null {
  if (process.platform !== 'linux') return null
  // cpu, user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first ones already.
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/\s+/).slice(1, 9).map(Number) ?? []
  return { all: ticks.reduce((sum, value) => sum + value, 0), idle: (ticks[3] ?? 0) + (ticks[4] ?? 0), stolen: ticks[7] ?? 0 }
}
