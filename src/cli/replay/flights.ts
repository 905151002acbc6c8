import { Client, type Dispatcher } from 'undici'
import { microOf } from './expected.ts'
import { reasonOf } from './service.ts'
import { outputLimit, type Row } from './trace.ts'

/**
 * Sends each row of a trace as two requests of its own, a reserve and then its commit, many rows at once. The client shares the
 * machine with the service, so it is lean: a flight is one connection and one object that carries one row after another, and no
 * promise is made for a request.
 */

export interface Plan {
  readonly origin: string
  readonly authorization: string
  readonly runId: string
  readonly model: string
  readonly rows: readonly Row[]
  /** Wallet ids; row i is paid by wallet i modulo their number. */
  readonly wallets: readonly string[]
  readonly concurrency: number
  /** 1 as recorded, 2 twice as fast; 0 as fast as it goes. */
  readonly speed: number
  /** How long one command is tried again, with its key, while the service is away. */
  readonly retryForMs: number
}

/** The figures of a run while it runs and afterwards. */
export interface Tally {
  acknowledged: number
  replayed: number
  retries: number
  landed: number
  readonly refusals: Map<string, number>
  /** Micro-credits charged for each row; −1 where no charge was acknowledged. */
  readonly charged: BigInt64Array
  /** Milliseconds from the first attempt to the answer, retries included; 0 where there was none. */
  readonly reserveMs: Float64Array
  readonly commitMs: Float64Array
}

const RETRY_PAUSE_MS_MIN = 20
const RETRY_PAUSE_MS_MAX = 500
/** A service that was stopped, not killed, answers nothing any more. */
const ANSWER_MS_MAX = 15_000
/** Holds outlive the retries of their commit. */
const HOLD_SECONDS = 3_600

/** Carries every row to its end. Never rejects: what went wrong is in the tally. */
export function fly(plan: Plan): { readonly tally: Tally; readonly done: Promise<void> } {
  const { rows, concurrency, speed } = plan
  const tally: Tally = {
    acknowledged: 0,
    replayed: 0,
    retries: 0,
    landed: 0,
    refusals: new Map(),
    charged: new BigInt64Array(rows.length).fill(-1n),
    reserveMs: new Float64Array(rows.length),
    commitMs: new Float64Array(rows.length),
  }
  const startedAt = performance.now()
  const recordedFrom = rows[0]?.at ?? 0
  const idle: Flight[] = []
  let next = 0
  let waiting = false
  let finish: () => void = () => {}
  const done = new Promise<void>((resolve) => {
    finish = resolve
  })

  /** Starts what is due, as far as there are free flights. */
  function dispatch(): void {
    waiting = false
    while (next < rows.length && idle.length > 0) {
      const dueIn = speed === 0 ? 0 : startedAt + ((rows[next] as Row).at - recordedFrom) / speed - performance.now()
      if (dueIn > 0) {
        waiting = true
        setTimeout(dispatch, dueIn)
        return
      }
      ;(idle.pop() as Flight).take(next++)
    }
  }

  function landed(flight: Flight): void {
    tally.landed += 1
    idle.push(flight)
    if (tally.landed === rows.length) finish()
    else if (!waiting) dispatch()
  }

  for (let n = Math.min(concurrency, rows.length); n > 0; n -= 1) idle.push(new Flight(plan, tally, landed))
  dispatch()
  if (rows.length === 0) finish()
  return { tally, done: done.then(() => Promise.all(idle.map((flight) => flight.close()))).then(() => {}) }
}

class Flight implements Dispatcher.DispatchHandler {
  readonly #plan: Plan
  readonly #tally: Tally
  readonly #landed: (flight: Flight) => void
  readonly #client: Client
  #row = 0
  /** The reservation of this row once it is made; before that the flight is about to reserve. */
  #reservation = ''
  #since = 0
  #attempts = 0
  #status = 0
  #replayed = false
  #chunk: Buffer | null = null

  constructor(plan: Plan, tally: Tally, landed: (flight: Flight) => void) {
    this.#plan = plan
    this.#tally = tally
    this.#landed = landed
    this.#client = new Client(plan.origin, { pipelining: 1, headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX })
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  take(row: number): void {
    this.#row = row
    this.#reservation = ''
    this.#begin()
  }

  #begin(): void {
    this.#since = performance.now()
    this.#attempts = 0
    this.#send()
  }

  #send(): void {
    this.#attempts += 1
    const { authorization, runId, model, rows, wallets } = this.#plan
    const row = rows[this.#row] as Row
    const reserving = this.#reservation === ''
    const usage = `"usage":{"input_tokens":${row.inputTokens},"output_tokens":${reserving ? outputLimit(row) : row.outputTokens}}`
    this.#client.dispatch(
      {
        path: reserving ? '/v1/reservations' : `/v1/reservations/${this.#reservation}/commit`,
        method: 'POST',
        headers: [
          'authorization',
          authorization,
          'content-type',
          'application/json',
          'idempotency-key',
          `${runId}:${this.#row}:${reserving ? 'reserve' : 'commit'}`,
        ],
        body: reserving
          ? `{"wallet":"${wallets[this.#row % wallets.length]}","model":"${model}",${usage},"ttl_seconds":${HOLD_SECONDS}}`
          : `{${usage}}`,
      },
      this,
    )
  }

  onRequestStart(): void {
    this.#chunk = null
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    this.#status = status
    this.#replayed = headers['idempotent-replayed'] !== undefined
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunk = this.#chunk === null ? chunk : Buffer.concat([this.#chunk, chunk])
  }

  onResponseEnd(): void {
    const body = parse(this.#chunk)
    if (body === null) this.#refused(`${this.#status} without a JSON body`)
    else if (this.#status < 300) this.#acknowledged(body)
    else if (body.retryable === true) this.#again(String(body.code))
    else this.#refused(String(body.code ?? this.#status))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#again(`unreachable (${reasonOf(error)})`)
  }

  #acknowledged(body: Record<string, unknown>): void {
    const tally = this.#tally
    tally.acknowledged += 1
    if (this.#replayed) tally.replayed += 1
    const ms = performance.now() - this.#since
    if (this.#reservation === '') {
      tally.reserveMs[this.#row] = ms
      this.#reservation = body.id as string
      this.#begin()
    } else {
      tally.commitMs[this.#row] = ms
      tally.charged[this.#row] = microOf(body.charged as string)
      this.#landed(this)
    }
  }

  /** The outcome is unknown or there was none: the same key makes it safe to ask again. */
  #again(code: string): void {
    if (performance.now() - this.#since > this.#plan.retryForMs) {
      this.#refused(code)
      return
    }
    this.#tally.retries += 1
    const most = Math.min(RETRY_PAUSE_MS_MAX, RETRY_PAUSE_MS_MIN * 2 ** this.#attempts)
    setTimeout(() => this.#send(), most / 2 + (Math.random() * most) / 2)
  }

  #refused(code: string): void {
    const { refusals } = this.#tally
    const named = `${this.#reservation === '' ? 'reserve' : 'commit'} ${code}`
    refusals.set(named, (refusals.get(named) ?? 0) + 1)
    this.#landed(this)
  }
}

function parse(bytes: Buffer | null): Record<string, unknown> | null {
  try {
    return bytes === null ? null : (JSON.parse(bytes.toString('utf8')) as Record<string, unknown>)
  } catch {
    return null
  }
}
