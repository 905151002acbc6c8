/** Turns what was measured into figures, ratios and a table. */

export interface Measured {
  readonly name: string
  readonly what: string
  readonly unit: string
  /** One figure a round. */
  readonly perSecond: number[]
  readonly p50Ms: number[]
  readonly p99Ms: number[]
  /** The load generator's own share of a core. */
  readonly loadCpu: number[]
  /** Microseconds on a core for each operation. */
  readonly serviceMicros: number[]
  readonly databaseMicros: number[]
}

export interface Target {
  readonly what: string
  readonly of: string
  readonly to: string
  /** Null for what is only good to know. */
  readonly wanted: number | null
  /** The median of the rounds' ratios. */
  readonly ratio: number
}

export interface Report {
  readonly at: string
  readonly machine: string
  readonly database: string
  readonly method: string
  /** Share of all cores, while measuring: what was idle, and what the hypervisor gave to other machines. */
  readonly cores: { readonly idle: number; readonly stolen: number } | null
  readonly measured: readonly Measured[]
  readonly memory: { readonly idleMiB: number; readonly afterMiB: number }
  readonly targets: readonly Target[]
  readonly notes: readonly string[]
}

const TARGETS: readonly (readonly [what: string, of: string, to: string, wanted: number | null])[] = [
  ['reserve to the same route without a database', 'reserve', 'noop', 0.7],
  ['one hot wallet to 500 wallets', 'hot', 'reserve', 0.8],
  ['one hot wallet to the usual way on it', 'hot', 'naive-hot', 5],
  ['/v1/batch to single reserves', 'batch', 'reserve', 3],
  ['reserve to the same rows in PL/pgSQL', 'reserve', 'pgbench', 1],
  ['50 clients on one wallet to the usual way', 'hot-50', 'naive-hot-50', 5],
  ['50 clients on one wallet to one row in PL/pgSQL', 'hot-50', 'pgbench-row', null],
]

/** Ratios are taken within a round, where both sides had the same neighbours, and then the median of the rounds. */
export function targets(measured: readonly Measured[]): Target[] {
  const byName = new Map(measured.map((one) => [one.name, one.perSecond]))
  return TARGETS.flatMap(([what, of, to, wanted]) => {
    const above = byName.get(of)
    const below = byName.get(to)
    if (!above || !below) return []
    return [{ what, of, to, wanted, ratio: median(above.map((value, round) => value / (below[round] as number))) }]
  })
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The report as Markdown. */
export function render(report: Report): string {
  const noop = report.measured.find(({ name }) => name === 'noop')
  const rows = report.measured.map((one) => {
    const rate = median(one.perSecond)
    const spread = `${Math.round(Math.min(...one.perSecond))}–${Math.round(Math.max(...one.perSecond))}`
    const share = noop ? median(one.perSecond.map((value, round) => value / (noop.perSecond[round] as number))).toFixed(2) : ''
    const latency = one.p50Ms.length > 0 ? `${median(one.p50Ms).toFixed(1)} / ${median(one.p99Ms).toFixed(1)}` : ''
    const cpu = one.loadCpu.length > 0 ? median(one.loadCpu).toFixed(2) : ''
    const micros = [one.serviceMicros, one.databaseMicros]
      .map((values) => (values.length > 0 ? Math.round(median(values)) : '–'))
      .join(' / ')
    return [one.name, one.what, `${Math.round(rate)} ${one.unit}`, spread, share, latency, micros, cpu]
  })
  const verdicts = report.targets.map(({ what, of, to, wanted, ratio }) => [
    what,
    `${of} / ${to}`,
    wanted === null ? '' : `≥ ${wanted.toFixed(2)}`,
    ratio.toFixed(2),
    wanted === null ? '' : ratio >= wanted ? 'PASS' : 'short',
  ])
  return [
    `${report.at} · ${report.machine}`,
    `${report.database}`,
    `${report.method}`,
    '',
    ...table(['variant', 'what', 'per second', 'range', 'of noop', 'p50 / p99 ms', 'CPU µs service / database', 'load CPU'], rows),
    '',
    ...(verdicts.length > 0 ? [...table(['ratio', '', 'wanted', 'measured', ''], verdicts), ''] : []),
    `Memory of the service: ${report.memory.idleMiB} MiB before the first request, ${report.memory.afterMiB} MiB at the end.`,
    ...(report.cores
      ? [
          `Cores while measuring: ${percent(report.cores.idle)} idle, ${percent(report.cores.stolen)} taken by other machines on the same host.`,
        ]
      : []),
    ...report.notes,
  ].join('\n')
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length), 3))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column] as number)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)]
}
