import type { FieldError } from '../kernel/errors.ts'

/** Longer pointers are cut: they are made of keys that the caller chose, and a body of one long key must not come back whole. */
const POINTER_LENGTH_MAX = 200

/** A JSON pointer (RFC 6901) from the names on the way to a value; the empty path is the whole body. */
export function pointerTo(path: readonly PropertyKey[]): string {
  let pointer = ''
  for (const name of path) pointer += `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`
  return pointer.length > POINTER_LENGTH_MAX ? `${cut(pointer, POINTER_LENGTH_MAX - 1)}…` : pointer
}

/** One wrong place of the request. */
export function fieldError(path: readonly PropertyKey[], message: string): FieldError {
  return { pointer: pointerTo(path), message }
}

/** Cuts a text without splitting a surrogate pair, which could not be encoded in the answer. */
function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed()
}
