import { Command, InvalidArgumentError } from 'commander'
import type { Reconciled } from '../billing/reconcile.ts'
import type { Payments } from '../config.ts'
import type { Role } from '../jobs/role.ts'
import type { Answer, Command as LaneCommand } from '../ledger/command.ts'
import type { Wallet } from '../ledger/wallet.ts'

/** What every command is made with, and what it may say. */

/** A running lane on a database, for commands that move money. */
export interface LaneAccess {
  openWallet(clientId: string, owner: { readonly kind: string; readonly id: string }, label: string): Promise<Wallet | null>
  submitAll(commands: readonly LaneCommand[]): Promise<Answer[]>
  close(): Promise<void>
}

/** The payment provider's books beside ours. */
export interface BillingAccess {
  reconcile(from: Date, to: Date, onProgress: (checked: number) => void): Promise<Reconciled>
  close(): Promise<void>
}

/** What the commands need of the root files, which they may not import: `cli.ts` hands it in. */
export interface Ports {
  readonly env: NodeJS.ProcessEnv
  /** Where prisma/migrations is. */
  readonly migrationsDir: string
  startService(env: NodeJS.ProcessEnv, role: Role): Promise<void>
  openLane(url: string): Promise<LaneAccess>
  openBilling(url: string, payments: Payments): Promise<BillingAccess>
  /** Adds the first prices and packages where there are none. @returns how many were added */
  seedLists(url: string): Promise<{ readonly prices: number; readonly packages: number }>
}

/** Why a command could not do what it was asked to; each line is for the person at the terminal. Exit status 1. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly lines: readonly string[]

  constructor(...lines: readonly string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

/** A command with the manners that all of them share. */
export function newCommand(name: string, summary: string): Command {
  return new Command(name)
    .description(summary)
    .allowExcessArguments(false)
    .exitOverride()
    .showHelpAfterError('(--help shows how it is used)')
    .helpOption('-h, --help', 'show this help')
}

/** The examples at the end of a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}\n`
}

/** A parser of whole numbers within bounds, for options. */
export function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= least && value <= most)) throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`)
    return value
  }
}

/** Says something to the person, beside what the command is asked for: that alone goes to standard output. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Writes a line of what the command is asked for. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
