/**
 * node bench/load.ts '<LoadPlan as JSON>'
 *
 * Drives one route over raw keep-alive sockets, one request under way on each, and prints a LoadResult. It does nothing that the
 * measurement does not need, because it shares the cores with what it measures: a request is one string and one write, an answer
 * is searched for its status, its length and, where the next request needs it, an id.
 */
import { connect, type Socket } from 'node:net'
import { cpuSecondsOf } from './cpu.ts'

export interface LoadPlan {
  readonly port: number
  readonly authorization: string
  readonly connections: number
  readonly warmupSeconds: number
  readonly seconds: number
  /** `batch` sends `size` reserves a request; `pair` commits each reservation as soon as it is answered. */
  readonly kind: 'single' | 'batch' | 'pair'
  readonly path: string
  readonly size: number
  /** Requests a second over all connections; as many as can be when absent. */
  readonly perSecond?: number
  readonly wallets: readonly string[]
  /** Makes the idempotency keys of this run unlike those of any other. */
  readonly keyPrefix: string
  /** Processes whose time on a core is of interest: the service, the database. */
  readonly watch: readonly number[]
}

export interface LoadResult {
  /** Requests answered 2xx while measuring, and the commands in them that succeeded. */
  readonly requests: number
  readonly operations: number
  readonly seconds: number
  /** Answers that were not what a success looks like, warm-up included, with one of them. */
  readonly errors: number
  readonly firstError: string | null
  readonly p50Ms: number
  readonly p99Ms: number
  /** Time that this process spent on a core, of the measured time. */
  readonly cpu: number
  /** Microseconds on a core for each operation, for each process of `watch`. */
  readonly watched: readonly (number | null)[]
}

const AMOUNT = '0.001'
const TTL_SECONDS = 86_400
/** Latency histogram: buckets of 10 µs up to 10 s. */
const BUCKET_MS = 0.01
const DRAIN_SECONDS_MAX = 10
const HEAD_END = '\r\n\r\n'

const plan = JSON.parse(process.argv[2] as string) as LoadPlan
const histogram = new Uint32Array(10_000 / BUCKET_MS)
let keys = 0
let measuring = false
let stopped = false
let requests = 0
let operations = 0
let errors = 0
let firstError: string | null = null

function post(path: string, key: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${plan.authorization}\r\ncontent-type: application/json\r\nidempotency-key: ${key}\r\ncontent-length: ${body.length}${HEAD_END}${body}`
}

const nextKey = () => `${plan.keyPrefix}${(keys++).toString(36)}`
const reserveBody = (n: number) => `{"wallet":"${plan.wallets[n % plan.wallets.length]}","amount":"${AMOUNT}","ttl_seconds":${TTL_SECONDS}}`

/** Wallets at random, but the same ones in every run (a linear congruence of full period). */
let drawn = 1
const nextWallet = () => {
  drawn = (Math.imul(drawn, 1_664_525) + 1_013_904_223) >>> 0
  return drawn >>> 8
}

function nextRequest(): string {
  if (plan.kind !== 'batch') return post(plan.path, nextKey(), reserveBody(nextWallet()))
  const commands: string[] = []
  for (let i = 0; i < plan.size; i += 1) {
    commands.push(`{"operation":"reserve","idempotency_key":"${nextKey()}","body":${reserveBody(nextWallet())}}`)
  }
  return post(plan.path, nextKey(), `{"commands":[${commands.join(',')}]}`)
}

/** How many commands of an answer succeeded. */
function succeeded(answer: string, bodyAt: number): number {
  if (answer.charCodeAt(9) !== 0x32 /* the 2 of "HTTP/1.1 2xx" */) return 0
  if (plan.kind !== 'batch') return 1
  let count = 0
  for (let at = answer.indexOf('{"status":201,', bodyAt); at >= 0; at = answer.indexOf('{"status":201,', at + 1)) count += 1
  return count
}

function follow(answer: string, bodyAt: number): string {
  const at = answer.indexOf('rsv_', bodyAt)
  return post(`${plan.path}/${answer.slice(at, at + 36)}/commit`, nextKey(), `{"amount":"${AMOUNT}"}`)
}

function open(): Promise<Socket> {
  let pending = ''
  let expected = 0
  let bodyAt = 0
  let sentAt = 0
  let reserved = false
  let dueAt = performance.now()
  let socket: Socket

  function send(request: string): void {
    sentAt = performance.now()
    socket.write(request, 'latin1')
  }

  function answered(answer: string): void {
    const good = succeeded(answer, bodyAt)
    const wanted = plan.kind === 'batch' ? plan.size : 1
    if (good < wanted) {
      errors += wanted - good
      firstError ??= answer.slice(0, 600)
    }
    if (measuring) {
      requests += 1
      operations += good
      const bucket = Math.min(histogram.length - 1, Math.floor((performance.now() - sentAt) / BUCKET_MS))
      histogram[bucket] = (histogram[bucket] as number) + 1
    }
    if (stopped) socket.destroy()
    else if (plan.kind === 'pair' && !reserved && good === 1) {
      reserved = true
      inTime(follow(answer, bodyAt))
    } else {
      reserved = false
      inTime(nextRequest())
    }
  }

  function inTime(request: string): void {
    if (plan.perSecond === undefined) {
      send(request)
      return
    }
    const now = performance.now()
    // Who is late begins anew: a pause is not made up for by a burst.
    dueAt = Math.max(dueAt + (plan.connections / plan.perSecond) * 1_000, now)
    setTimeout(() => (stopped ? socket.destroy() : send(request)), dueAt - now)
  }

  function received(length: number, bytes: Uint8Array): boolean {
    pending += Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1')
    if (expected === 0) {
      const head = pending.indexOf(HEAD_END)
      if (head < 0) return true
      const at = pending.indexOf('content-length: ')
      if (at < 0) throw new Error(`an answer without a length: ${pending.slice(0, 400)}`)
      bodyAt = head + HEAD_END.length
      expected = bodyAt + Number.parseInt(pending.slice(at + 16, at + 26), 10)
    }
    if (pending.length < expected) return true
    const answer = pending
    pending = ''
    expected = 0
    answered(answer)
    return true
  }

  return new Promise((resolve, reject) => {
    socket = connect({
      port: plan.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: new Uint8Array(64 * 1024), callback: received },
    })
    socket.once('error', (error) => (stopped ? undefined : reject(error)))
    socket.once('close', () => {
      if (!stopped) throw new Error('the service closed a connection')
    })
    socket.once('connect', () => {
      send(nextRequest())
      resolve(socket)
    })
  })
}

const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000))

function percentile(share: number): number {
  let left = requests * share
  for (let bucket = 0; bucket < histogram.length; bucket += 1) {
    left -= histogram[bucket] as number
    if (left <= 0) return Math.round((bucket + 1) * BUCKET_MS * 100) / 100
  }
  return Number.NaN
}

const sockets = await Promise.all(Array.from({ length: plan.connections }, open))
await sleep(plan.warmupSeconds)
const cpuBefore = plan.watch.map(cpuSecondsOf)
measuring = true
const startedAt = performance.now()
const usedBefore = process.cpuUsage()
await sleep(plan.seconds)
measuring = false
const seconds = (performance.now() - startedAt) / 1_000
const used = process.cpuUsage(usedBefore)
const cpuAfter = plan.watch.map(cpuSecondsOf)
stopped = true
const result: LoadResult = {
  requests,
  operations,
  seconds,
  errors,
  firstError,
  p50Ms: percentile(0.5),
  p99Ms: percentile(0.99),
  cpu: (used.user + used.system) / 1e6 / seconds,
  watched: cpuAfter.map((after, index) => {
    const before = cpuBefore[index] ?? null
    return after === null || before === null || operations === 0 ? null : ((after - before) * 1e6) / operations
  }),
}
// What is under way is waited for: it must not weigh on the next measurement.
const giveUpAt = performance.now() + DRAIN_SECONDS_MAX * 1_000
while (sockets.some((socket) => !socket.destroyed) && performance.now() < giveUpAt) await sleep(0.02)
process.stdout.write(JSON.stringify(result), () => process.exit(0))
