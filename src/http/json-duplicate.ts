/** An object or array that is open where the scan stands, with the name or index it stands at. */
type Frame = { readonly keys: Set<string>; at: string } | { readonly keys: null; at: number }

/**
 * The path of the first key that an object names twice, or null where there is none. Names are compared after their escapes are
 * read. A loop with its own stack: the text may be nested as deep as it is long.
 * @param text valid JSON
 */
export function findDuplicateKey(text: string): PropertyKey[] | null {
  const stack: Frame[] = []
  let keyNext = false
  for (let i = 0; i < text.length; i += 1) {
    const top = stack.at(-1)
    switch (text[i]) {
      case '{':
        stack.push({ keys: new Set(), at: '' })
        keyNext = true
        break
      case '[':
        stack.push({ keys: null, at: 0 })
        keyNext = false
        break
      case '}':
      case ']':
        stack.pop()
        keyNext = false
        break
      case ',':
        if (top?.keys === null) top.at += 1
        else keyNext = true
        break
      case '"': {
        const end = endOfString(text, i)
        if (keyNext && top?.keys) {
          const key = JSON.parse(text.slice(i, end + 1)) as string
          if (top.keys.has(key)) return [...stack.slice(0, -1).map((frame) => frame.at), key]
          top.keys.add(key)
          top.at = key
          keyNext = false
        }
        i = end
        break
      }
    }
  }
  return null
}

/** The place of the quote that closes the string opened at `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1
  return i
}
