/** The little that the machine room needs of a logger. A pino logger fits, and so does `console`. */
export interface PlatformLog {
  info(message: string): void
  warn(message: string): void
}
