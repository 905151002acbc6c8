import { Failure } from '../command.ts'

/** A trace of requests to a language model, as Azure publishes them: one row a request, with its time and its tokens. */

export interface Row {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly inputTokens: number
  readonly outputTokens: number
}

const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'
const LINE = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?,(\d{1,9}),(\d{1,9})$/

/**
 * Reads a trace.
 * @param name for the message
 * @throws Failure that names the first line which is wrong
 */
export function parseTrace(text: string, name: string): Row[] {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  while (lines.at(-1) === '') lines.pop()
  if (lines[0] !== HEADER) throw new Failure(`${name}, line 1: must be the header ${HEADER}, is ${excerpt(lines[0])}`)
  return lines.slice(1).map((line, index) => {
    const row = parseLine(line)
    if (!row) {
      throw new Failure(
        `${name}, line ${index + 2}: must be a time and two whole numbers, such as 2023-11-16 18:15:46.6805900,374,44, is ${excerpt(line)}`,
      )
    }
    return row
  })
}

function parseLine(line: string): Row | null {
  const match = LINE.exec(line)
  if (!match) return null
  const [, date, time, fraction = '', zone = 'Z', input, output] = match
  // Seven digits of a second are more than a Date takes.
  const at = Date.parse(`${date}T${time}${fraction.slice(0, 4)}${zone}`)
  return Number.isNaN(at) ? null : { at, inputTokens: Number(input), outputTokens: Number(output) }
}

function excerpt(line: string | undefined): string {
  return line === undefined || line === '' ? 'empty' : JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line)
}

const OUTPUT_TOKENS_MIN = 64

/** How many output tokens to reserve for: before the call nobody knows, so a caller takes a round limit at or above it. */
export function outputLimit(row: Row): number {
  let limit = OUTPUT_TOKENS_MIN
  while (limit < row.outputTokens) limit *= 2
  return limit
}
