import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, type Caller, tally } from '../helpers/service.ts'

/** Clients that send one kind of request again and again, beside the load, to see how a fault is to them. */
export interface Senders {
  readonly answers: readonly Timed[]
  /** Lets each finish what it has under way. */
  stop(): Promise<void>
}

export interface Timed extends Pick<Answer, 'status' | 'body' | 'headers'> {
  /** Milliseconds since the start of the process, of the request and of its answer. */
  readonly sentAt: number
  readonly answeredAt: number
}

const PAUSE_MS = 50

/** @param send one request of the n-th client; an answer that never comes counts as status 0 */
export function startSenders(clients: number, send: (client: number) => Promise<Pick<Answer, 'status' | 'body' | 'headers'>>): Senders {
  const answers: Timed[] = []
  let stopped = false
  const running = Array.from({ length: clients }, async (_, client) => {
    while (!stopped) {
      const sentAt = performance.now()
      const answer = await send(client).catch((error: unknown) => ({ status: 0, body: { code: String(error) }, headers: {} }))
      answers.push({ status: answer.status, body: answer.body, headers: answer.headers, sentAt, answeredAt: performance.now() })
      if (answer.status !== 201) await sleep(PAUSE_MS)
    }
  })
  return {
    answers,
    async stop() {
      stopped = true
      await Promise.all(running)
    },
  }
}

/** A charge of the smallest amount. */
export function charge(caller: Caller, wallet: string): Promise<Answer> {
  return caller.post('/v1/charges', { wallet, amount: '0.000001' })
}

/** How long each took, in order, in milliseconds. */
export function spansOf(answers: readonly Timed[]): number[] {
  return answers.map(({ sentAt, answeredAt }) => answeredAt - sentAt).sort((a, b) => a - b)
}

/** `{"201":40}, p50 3 ms, p99 9 ms, max 12 ms` */
export function sendersText(answers: readonly Timed[]): string {
  const spans = spansOf(answers)
  const at = (share: number) => Math.round(spans[Math.ceil(share * spans.length) - 1] ?? 0)
  return `${JSON.stringify(tally(answers))}, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
}

/** The longest time in which nobody of them was answered with success, between two moments. */
export function silenceOf(answers: readonly Timed[], from: number, to: number): number {
  const moments = answers.filter(({ status }) => status >= 200 && status < 300).map(({ answeredAt }) => answeredAt)
  const within = [from, ...moments.filter((moment) => moment > from && moment < to).sort((a, b) => a - b), to]
  return Math.max(...within.slice(1).map((moment, index) => moment - (within[index] as number)))
}
