import type { FieldError } from '../../kernel/errors.ts'

/** Finds values in JSON that somebody else wrote, by the places that formats name, and says exactly where one is wrong. */

/** A member of an object, or the items of a list whose `field` has this value. */
type Step = string | { readonly field: string; readonly equals: string }

export interface Place {
  readonly steps: readonly Step[]
  readonly required: boolean
}

const parsed = new Map<string, Place>()

/** Reads `prompt_tokens_details.cached_tokens`, `list[modality=TEXT].tokenCount`, `prompt_tokens!`. */
export function place(text: string): Place {
  let known = parsed.get(text)
  if (!known) {
    const steps = text
      .replace(/!$/, '')
      .split(/\.|(?=\[)/)
      .map((step) => {
        const match = /^\[(\w+)=(\w+)\]$/.exec(step)
        return match ? { field: match[1] as string, equals: match[2] as string } : step
      })
    known = { steps, required: text.endsWith('!') }
    parsed.set(text, known)
  }
  return known
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member of the object itself, never one that it inherits. */
export function member(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

export type Found = { readonly pointer: string; readonly value: unknown }

/**
 * All values at a place; none where it or anything on the way is absent or null. A list can have the value several times.
 * @returns what is wrong where something on the way is of another type
 */
export function valuesAt(root: unknown, { steps }: Place): readonly Found[] | FieldError {
  const found: Found[] = []
  return gather(root, steps, '', found) ?? found
}

function gather(node: unknown, steps: readonly Step[], pointer: string, found: Found[]): FieldError | undefined {
  if (node === undefined || node === null) return undefined
  const [step, ...rest] = steps
  if (step === undefined) {
    found.push({ pointer, value: node })
    return undefined
  }
  if (typeof step === 'string') {
    return isObject(node) ? gather(member(node, step), rest, `${pointer}/${step}`, found) : { pointer, message: 'must be an object' }
  }
  if (!Array.isArray(node)) return { pointer, message: 'must be a list' }
  for (const [index, item] of node.entries()) {
    if (!isObject(item)) return { pointer: `${pointer}/${index}`, message: 'must be an object' }
    if (member(item, step.field) !== step.equals) continue
    const wrong = gather(item, rest, `${pointer}/${index}`, found)
    if (wrong) return wrong
  }
  return undefined
}

/** Where a place without lists is, as a JSON pointer. */
export function pointerOf({ steps }: Place): string {
  return steps.map((step) => `/${typeof step === 'string' ? step : '-'}`).join('')
}
