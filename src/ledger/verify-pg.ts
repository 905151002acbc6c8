import pg from 'pg'
import { INVARIANTS } from './invariants.ts'

/** What one invariant's query found. */
export interface Finding {
  readonly id: string
  readonly says: string
  /** How many rows break it. */
  readonly broken: number
  /** The ids of some of them. */
  readonly examples: readonly string[]
  readonly ms: number
}

export const EXAMPLES_MAX = 5

/**
 * Checks every invariant of the book, all in one snapshot, so that it may run while money moves.
 * @param url a PostgreSQL connection string
 * @param onFinding called after each invariant, for progress
 */
export async function verify(url: string, onFinding: (finding: Finding) => void = () => {}): Promise<Finding[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'farebox-verify' })
  await client.connect()
  try {
    await client.query('begin transaction isolation level repeatable read, read only')
    const findings: Finding[] = []
    for (const { id, says, sql } of INVARIANTS) {
      const started = performance.now()
      const { rows } = await client.query<{ id: string | null; broken: string }>(
        `select v.id::text as id, count(*) over () as broken from (${sql}) as v limit ${EXAMPLES_MAX}`,
      )
      const finding: Finding = {
        id,
        says,
        broken: Number(rows[0]?.broken ?? 0),
        examples: rows.map((row) => row.id ?? '(none)'),
        ms: performance.now() - started,
      }
      findings.push(finding)
      onFinding(finding)
    }
    await client.query('commit')
    return findings
  } finally {
    await client.end()
  }
}
