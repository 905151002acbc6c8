import { closeSync, createReadStream, openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'

/**
 * The journal of a load: what is about to be asked is on file before it is sent, and what came of it after. So it says at any moment,
 * whatever dies, which commands were acknowledged, which refused, and of which nobody knows. Lines are only ever added.
 */

export type OperationName = 'grant' | 'reserve' | 'commit' | 'release' | 'charge' | 'refund'

/** A command, as written before it is sent. */
export interface Sent {
  /** Counts up from 1 within a journal. */
  readonly id: number
  readonly operation: OperationName
  /** Its idempotency key; also the `reference` of what it makes, wherever the operation takes one. */
  readonly key: string
  readonly wallet: string
  readonly path: string
  readonly body: object
}

/** The definite answer to a command. */
export interface Told {
  readonly status: number
  /** The body as it came. */
  readonly text: string
  readonly replayed: boolean
}

/** A command with what became of it: null where there was no definite answer. */
export interface Entry extends Sent {
  readonly told: Told | null
}

type Line = { readonly sent: Sent } | { readonly id: number; readonly told: Told } | { readonly id: number; readonly info: string }

export class Journal {
  readonly file: string
  readonly #descriptor: number

  /** Goes on with the file if there is one. */
  constructor(file: string) {
    this.file = file
    this.#descriptor = openSync(file, 'a')
  }

  sending(sent: Sent): void {
    this.#write({ sent })
  }

  /** Acknowledged (2xx) or refused for good. */
  told(id: number, told: Told): void {
    this.#write({ id, told })
  }

  /** No definite answer, and why: the command may have been carried out or not. */
  info(id: number, why: string): void {
    this.#write({ id, info: why })
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #write(line: Line): void {
    writeSync(this.#descriptor, `${JSON.stringify(line)}\n`)
  }
}

/** Reads a journal from its file: each command once it is answered, at the end those that are not. */
export async function* readJournal(file: string): AsyncGenerator<Entry> {
  const open = new Map<number, Sent>()
  for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    const line = JSON.parse(text) as Line
    if ('sent' in line) open.set(line.sent.id, line.sent)
    else if ('told' in line) {
      const sent = open.get(line.id)
      if (!sent) throw new Error(`the journal has a second answer to command ${line.id}`)
      open.delete(line.id)
      yield { ...sent, told: line.told }
    }
  }
  for (const sent of open.values()) yield { ...sent, told: null }
}
