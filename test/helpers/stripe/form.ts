/**
 * What Stripe's libraries send: `a[b]=1`, `a[0][b]=1`, `a[]=1`, in a body or a query, as nested values. All leaves are text; what
 * they mean is for the route's parameters to say.
 */
export type FormValue = string | FormValue[] | { [name: string]: FormValue }
export type Form = { [name: string]: FormValue }

type Node = Map<string, Node | string>

export function decodeForm(text: string): Form {
  const root: Node = new Map()
  for (const [name, value] of new URLSearchParams(text)) place(root, pathOf(name), value)
  const form: Form = {}
  for (const [name, node] of root) form[name] = toValue(node)
  return form
}

function pathOf(name: string): string[] {
  const open = name.indexOf('[')
  if (open <= 0) return [name]
  return [name.slice(0, open), ...[...name.slice(open).matchAll(/\[([^\]]*)\]/g)].map((match) => match[1] ?? '')]
}

function place(root: Node, path: readonly string[], value: string): void {
  let node = root
  for (const [depth, part] of path.entries()) {
    const name = part === '' ? String(node.size) : part
    if (depth === path.length - 1) {
      node.set(name, value)
      return
    }
    const next = node.get(name)
    if (next instanceof Map) node = next
    else {
      const made: Node = new Map()
      node.set(name, made)
      node = made
    }
  }
}

function toValue(node: Node | string): FormValue {
  if (typeof node === 'string') return node
  const names = [...node.keys()]
  if (names.every((name, index) => name === String(index))) return [...node.values()].map(toValue)
  const value: Form = {}
  for (const [name, inner] of node) value[name] = toValue(inner)
  return value
}
