import { codeOfProblem } from '../http/problem.ts'
import { type FareboxError, fail } from '../kernel/errors.ts'
import { classify, type DatabaseFailure } from '../platform/sqlstate.ts'
import type { Answer, Command } from './command.ts'
import type { Places } from './places.ts'
import { type BatchStore, WalletsLocked } from './store.ts'

/**
 * The lane: the one path of every command that moves money. Commands queue up, and a batch is whatever has arrived while the
 * batch before it was under way. The lane knows commands in general and none in particular.
 */

/** Waiting commands; beyond that a caller is told to come back rather than made to wait. About half a second of work. */
const QUEUE_MAX = 8_192
/** Commands in one database transaction: large enough to share its cost, small enough that locks are held for milliseconds. */
const BATCH_MAX = 512
/** Whoever would wait longer than this for a turn, as batches go at present, is told to come back at once. */
const TURN_MS_MAX = 1_000
/** What the last batch counts for, of how long a batch takes. */
const LAST_BATCH_WEIGHT = 0.25
/** Nobody waits longer than this for an answer, whatever the database does. A command that has not started by then never will. */
const ANSWER_MS_MAX = 5_000
/** How long the database counts as unable to write after it said so. Then commands may come again, to find out. */
const STORAGE_FAILED_MS = 5_000
/** How often to look for commands that have waited so long. */
const OVERDUE_CHECK_MS = 500
/** Between two looks at wallets that somebody else holds locked. Each look waits for the lock in the database. */
const LOCKED_PAUSE_MS = 100
const RETRY_DELAY_MS_MIN = 5
const RETRY_DELAY_MS_MAX = 250
/** Seconds that an overloaded or storage-less service asks its callers to wait. */
const RETRY_AFTER_SECONDS = 1

interface Waiting {
  readonly command: Command
  readonly since: number
  /** The same of all commands that came together and keep their order. */
  readonly group: object
  /** Whether the database has heard of it: then nobody can say that nothing was done. */
  attempted: boolean
  resolve(answer: Answer): void
  reject(error: unknown): void
}

export interface LaneLog {
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Who counts what the lane does. None of this may throw, and all of it is on the way of money. */
export interface LaneWatch {
  /** One attempt at a batch ended. @param seconds how long it took */
  batchEnded(commands: number, seconds: number, outcome: 'committed' | 'failed'): void
  /** It will be tried again. */
  batchRetried(failure: DatabaseFailure): void
  /** A command was refused by its decision, a replayed one as well. */
  refused(code: string): void
}

/** One of the batches that may be under way at once, with the commands that wait for it. */
interface Track {
  readonly store: BatchStore
  readonly queue: Waiting[]
  busy: boolean
  /** How long a batch takes of late, in milliseconds. */
  batchMs: number
}

export class Lane {
  readonly #tracks: readonly Track[]
  /** Where commands wait whose wallets somebody else holds locked, so that nobody else has to wait with them. */
  readonly #siding: Track
  /** The tracks and the siding. */
  readonly #all: readonly Track[]
  /** The wallets that are locked. */
  readonly #locked = new Set<string>()
  readonly #places: Pick<Places, 'onlyWalletOf' | 'subjectOf' | 'walletsOf'>
  readonly #log: LaneLog
  readonly #watch: LaneWatch | null
  readonly #overdueCheck: NodeJS.Timeout
  #storageFailedAt = Number.NEGATIVE_INFINITY
  #scheduled = false
  #stopping = false
  #drained: (() => void) | null = null

  /**
   * @param stores one for each batch that may be under way at once; about two keep the database and the process busy
   * @param siding for commands whose wallets are locked by somebody else
   */
  constructor(
    stores: readonly BatchStore[],
    siding: BatchStore,
    places: Pick<Places, 'onlyWalletOf' | 'subjectOf' | 'walletsOf'>,
    log: LaneLog,
    watch: LaneWatch | null = null,
  ) {
    this.#tracks = stores.map((store) => ({ store, queue: [], busy: false, batchMs: 0 }))
    this.#siding = { store: siding, queue: [], busy: false, batchMs: 0 }
    this.#all = [...this.#tracks, this.#siding]
    this.#places = places
    this.#log = log
    this.#watch = watch
    this.#overdueCheck = setInterval(() => {
      for (const track of this.#all) refuseOverdue(track)
    }, OVERDUE_CHECK_MS)
    this.#overdueCheck.unref()
  }

  /**
   * Runs one command and answers after its COMMIT.
   * @throws FareboxError `overloaded` when the queue is full, `shutting_down`, `storage_unavailable` when the database could not
   * be reached in time (the outcome is then unknown: the same key tells), `internal` when this command's own write fails
   */
  submit(command: Command): Promise<Answer> {
    const [answer] = this.submitAll([command])
    return answer as Promise<Answer>
  }

  /**
   * Queues commands together, or none of them. Those that share a wallet are carried out in this order, whatever number of batches
   * they take.
   * @throws FareboxError `overloaded`, `shutting_down`
   */
  submitAll(commands: readonly Command[]): Promise<Answer>[] {
    const group = {}
    const tracks = this.#tracksOf(commands)
    return this.#enqueue(commands.map((command, index) => ({ command, group, track: tracks[index] as Track })))
  }

  /**
   * Queues commands that have nothing to do with each other, or none of them. Unlike those of `submitAll` they keep no order, and none
   * waits because of another's wallet.
   * @throws FareboxError `overloaded`, `shutting_down`
   */
  submitEach(commands: readonly Command[]): Promise<Answer>[] {
    return this.#enqueue(commands.map((command) => ({ command, group: {}, track: this.#tracksOf([command])[0] as Track })))
  }

  #enqueue(list: readonly { readonly command: Command; readonly group: object; readonly track: Track }[]): Promise<Answer>[] {
    if (this.#stopping) throw fail('shutting_down', 'The service is stopping; another process will answer.', retryAfter)
    if (this.depth + list.length > QUEUE_MAX) throw overloaded('The queue of commands is full.')
    if (list.some(({ track }) => isBehind(track))) throw overloaded('Commands wait too long for their turn.')
    const since = performance.now()
    const answers = list.map(
      ({ command, group, track }) =>
        new Promise<Answer>((resolve, reject) => track.queue.push({ command, since, group, attempted: false, resolve, reject })),
    )
    this.#schedule()
    return answers
  }

  /** Why nobody needs to bring a command at present, null where it may find a place. Cheap enough to ask before a body is read. */
  get refusal(): FareboxError | null {
    return this.#tracks.every(isBehind) ? overloaded('Commands wait too long for their turn.') : null
  }

  /** Whether the database could write when it was last asked to; it may answer reads and still have no space left. */
  get canStore(): boolean {
    return performance.now() - this.#storageFailedAt > STORAGE_FAILED_MS
  }

  /** Commands that wait for a batch. */
  get depth(): number {
    return this.#all.reduce((depth, { queue }) => depth + queue.length, 0)
  }

  /** Takes no more commands, finishes those it has, and gives up its connections. */
  async stop(): Promise<void> {
    this.#stopping = true
    if (!this.#resting()) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve
      })
    }
    clearInterval(this.#overdueCheck)
    for (const { store } of this.#all) store.close()
  }

  #resting(): boolean {
    return this.#all.every(({ queue, busy }) => queue.length === 0 && !busy)
  }

  /**
   * Commands on one wallet go the same way, so that no two batches wait for each other's locks. Commands that came together part
   * only where it is certain that no two of them share a wallet on different ways; otherwise they stay in one queue, in order.
   */
  #tracksOf(commands: readonly Command[]): Track[] {
    const [first, ...others] = commands
    if (first === undefined) return []
    if (this.#locked.size > 0 && commands.some((command) => this.#names(command, this.#locked))) return commands.map(() => this.#siding)
    if (others.length > 0) {
      const wallets = commands.map((command) => this.#places.onlyWalletOf(command))
      if (wallets.every((wallet) => wallet !== undefined)) return wallets.map((wallet) => this.#trackOf(wallet))
    }
    const track = this.#trackOf(this.#places.subjectOf(first))
    return commands.map(() => track)
  }

  #trackOf(subject: string): Track {
    return this.#tracks[hashOf(subject) % this.#tracks.length] as Track
  }

  /** Starts batches at the end of this turn of the event loop, so that requests which arrived together go together. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      for (const track of this.#all) this.#startBatch(track)
    })
  }

  #names(command: Command, walletIds: ReadonlySet<string>): boolean {
    return this.#places.walletsOf(command).some((id) => walletIds.has(id))
  }

  /** Takes the commands on these wallets out of lists, and with each whatever came together with it: those keep their order. */
  #take(lists: readonly Waiting[][], walletIds: ReadonlySet<string>): Waiting[] {
    const groups = new Set<object>()
    for (const list of lists) for (const { command, group } of list) if (this.#names(command, walletIds)) groups.add(group)
    if (groups.size === 0) return []
    const taken = lists.flatMap((list) => list.filter(({ group }) => groups.has(group)))
    for (const list of lists) list.splice(0, list.length, ...list.filter(({ group }) => !groups.has(group)))
    return taken
  }

  /** What was carried out shows that these wallets are free again. */
  #unlock(batch: readonly Waiting[]): void {
    for (const { command } of batch) for (const id of this.#places.walletsOf(command)) this.#locked.delete(id)
  }

  /**
   * Lets the commands on locked wallets wait by themselves. Those on another track find out by themselves, after what came before them.
   * @param later what will be tried after the batch, and is in no queue
   * @returns the rest of the batch, which can go on
   */
  #setAside(track: Track, batch: readonly Waiting[], later: readonly Waiting[][], walletIds: readonly string[]): Waiting[] {
    for (const id of walletIds) this.#locked.add(id)
    const rest = [...batch]
    const taken = this.#take([rest, ...later, track.queue], this.#locked)
    this.#siding.queue.push(...taken)
    this.#siding.queue.sort((a, b) => a.since - b.since)
    this.#schedule()
    return rest
  }

  #startBatch(track: Track): void {
    if (track.busy) return
    refuseOverdue(track)
    const batch = track.queue.splice(0, BATCH_MAX)
    const [oldest] = batch
    if (oldest === undefined) return
    track.busy = true
    const answered = rejectOverdue(batch)
    void this.#run(track, batch, oldest.since + ANSWER_MS_MAX).finally(() => {
      answered()
      track.busy = false
      this.#startBatch(track)
      if (this.#drained !== null && this.#resting()) this.#drained()
    })
  }

  /**
   * Runs a batch to its answers, again and again until its deadline where it may help. Never throws.
   * @param later what will be tried after it, and is in no queue
   */
  async #run(track: Track, batch: readonly Waiting[], deadline: number, later: readonly Waiting[][] = []): Promise<void> {
    const begunAt = performance.now()
    for (let attempt = 1; batch.length > 0; attempt += 1) {
      const startedAt = performance.now()
      for (const waiting of batch) waiting.attempted = true
      const ended = (outcome: 'committed' | 'failed') =>
        this.#watch?.batchEnded(batch.length, (performance.now() - startedAt) / 1_000, outcome)
      try {
        const answers = await track.store.transact(
          batch.map((waiting) => waiting.command),
          track === this.#siding ? NONE : this.#locked,
        )
        for (const [index, waiting] of batch.entries()) waiting.resolve(answers[index] as Answer)
        ended('committed')
        for (const { status, body } of answers) if (status >= 400) this.#watch?.refused(codeOfProblem(body))
        this.#storageFailedAt = Number.NEGATIVE_INFINITY
        track.batchMs += LAST_BATCH_WEIGHT * (performance.now() - begunAt - track.batchMs)
        if (track === this.#siding) this.#unlock(batch)
        return
      } catch (error) {
        ended('failed')
        const failure = classify(error)
        if (failure === 'fault') return this.#isolate(track, batch, error, deadline, later)
        if (error instanceof WalletsLocked && error.walletIds.length > 0) {
          this.#log.warn(
            { err: error, attempt, commands: batch.length, wallets: error.walletIds.length },
            'wallets are locked by somebody else',
          )
          const free = track === this.#siding ? [...batch] : this.#setAside(track, batch, later, error.walletIds)
          const locked = track === this.#siding ? this.#take([free, ...later], new Set(error.walletIds)) : []
          if (free.length < batch.length) {
            await this.#run(track, free, deadline, later)
            if (locked.length === 0) return
            // Back to the queue, where whoever has waited too long is answered, and whose wallet is free meanwhile goes on.
            this.#siding.queue.unshift(...locked)
            return delay(LOCKED_PAUSE_MS)
          }
        }
        const pauseMs = jitter(attempt)
        const exhausted = performance.now() + pauseMs > deadline
        this.#log.warn({ err: error, failure, attempt, commands: batch.length, exhausted }, 'a batch failed')
        if (failure === 'storage') this.#storageFailedAt = performance.now()
        if (exhausted || failure === 'storage') return rejectAll(batch, storageUnavailable(error))
        this.#watch?.batchRetried(failure)
        await delay(pauseMs)
      }
    }
  }

  /** Finds the command whose data the database refuses, by halves: it fails alone, the others go on in order. */
  async #isolate(track: Track, batch: readonly Waiting[], error: unknown, deadline: number, later: readonly Waiting[][]): Promise<void> {
    if (batch.length === 1) {
      const requestId = batch[0]?.command.speaker.requestId
      this.#log.error({ err: error, requestId }, 'a command cannot be written')
      return rejectAll(batch, fail('internal', 'The command could not be carried out; nothing was changed.', undefined, error))
    }
    const middle = batch.length >> 1
    const second = batch.slice(middle)
    await this.#run(track, batch.slice(0, middle), deadline, [second, ...later])
    await this.#run(track, second, deadline, later)
  }
}

/** Refuses what has waited too long. In order of arrival: the first that is in time ends the search. */
function refuseOverdue(track: Track): void {
  const before = performance.now() - ANSWER_MS_MAX
  const inTime = track.queue.findIndex((waiting) => waiting.since >= before)
  const overdue = inTime === 0 ? [] : track.queue.splice(0, inTime < 0 ? track.queue.length : inTime)
  for (const waiting of overdue) {
    waiting.reject(waiting.attempted ? storageUnavailable(undefined) : overloaded('The command waited too long for its turn.'))
  }
}

/**
 * Answers each command of a batch that is not done in time: whoever sent it may learn from the same key what became of it, since the
 * batch itself goes on. @returns what ends the watch
 */
function rejectOverdue(batch: readonly Waiting[]): () => void {
  let timer: NodeJS.Timeout
  const watch = (from: number) => {
    const next = batch[from]
    if (!next) return
    timer = setTimeout(
      () => {
        const before = performance.now() - ANSWER_MS_MAX
        let at = from
        for (; (batch[at]?.since ?? Number.POSITIVE_INFINITY) <= before + 1; at += 1) batch[at]?.reject(storageUnavailable(undefined))
        watch(at)
      },
      next.since + ANSWER_MS_MAX - performance.now(),
    )
  }
  watch(0)
  return () => clearTimeout(timer)
}

/** Whether one more would wait too long. A whole batch may always wait, however slow the database is. */
function isBehind({ queue, batchMs }: Track): boolean {
  return queue.length >= BATCH_MAX && (queue.length / BATCH_MAX) * batchMs > TURN_MS_MAX
}

/** FNV-1a, 32 bits. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

const NONE: ReadonlySet<string> = new Set()

const retryAfter = { retry_after_seconds: RETRY_AFTER_SECONDS }

function overloaded(detail: string): FareboxError {
  return fail('overloaded', detail, retryAfter)
}

function storageUnavailable(cause: unknown): FareboxError {
  return fail(
    'storage_unavailable',
    'The database did not answer. Send the request again with the same Idempotency-Key.',
    retryAfter,
    cause,
  )
}

function rejectAll(batch: readonly Waiting[], error: FareboxError): void {
  for (const waiting of batch) waiting.reject(error)
}

function jitter(attempt: number): number {
  const ceiling = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** attempt)
  return RETRY_DELAY_MS_MIN + Math.random() * ceiling
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
