import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { createService } from '../helpers/service.ts'

/** docs/metrics.md, the dashboard and the alerts name what `/metrics` has, and the docs name all of it. */

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')

/** Not there on systems other than Linux. */
const OF_LINUX = /^process_(?:virtual_memory_bytes|heap_bytes|open_fds|max_fds)$/
/** What Prometheus itself adds. */
const OF_PROMETHEUS = new Set(['up'])

t.test('metrics', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('10')
  await service.post('/v1/charges', { wallet, amount: '100' })
  const text = (await service.get('/metrics')).text
  const exposed = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name as string, type as string]))
  const rows = [...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| (\w+) \|([^|]*)\|([^|]*)\| (.+) \|$/gm)].map(
    ([, name, type, labels, unit, meaning]) => ({
      name: name as string,
      type,
      labels: [...(labels as string).matchAll(/`(\w+)`/g)].map(([, label]) => label as string),
      unit: unit as string,
      meaning: meaning as string,
    }),
  )

  t.test('docs/metrics.md has each metric, once, with its type, and no other', async (t) => {
    const here = (name: string) => process.platform === 'linux' || !OF_LINUX.test(name)
    t.same(
      rows
        .map(({ name, type }) => `${name} ${type}`)
        .filter(here)
        .sort(),
      [...exposed].map(([name, type]) => `${name} ${type}`).sort(),
    )
    t.ok(rows.filter(({ name }) => name.startsWith('farebox_')).length >= 12)
    for (const { name, meaning } of rows) t.ok(meaning.length >= 8, name)
    t.comment(`${rows.length} metrics`)
  })

  t.test('each has the documented labels and no other, and none names a wallet, a client or a person', async (t) => {
    for (const { name, labels } of rows) {
      const series = [...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{([^}]*)\\}`, 'gm'))]
      const found = new Set(series.flatMap(([, inner]) => [...(inner as string).matchAll(/(\w+)="/g)].map(([, label]) => label as string)))
      found.delete('le')
      for (const label of found) t.ok(labels.includes(label), `${name} ${label}`)
      for (const label of labels) t.notMatch(label, /wallet|client|user|owner|key|sub|id$/)
    }
    for (const secret of [wallet, service.client.id, service.client.wireId, service.client.name, 'owner-1']) t.notOk(text.includes(secret))
  })

  const exists = (name: string) => exposed.has(name) || exposed.get(name.replace(/_(?:bucket|sum|count)$/, '')) === 'histogram'
  const namesIn = (expression: string) =>
    [
      ...expression
        .replace(/"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without) \([^)]*\)|\b(?:or|and|unless)\b/g, '')
        .matchAll(/\b[a-z_]\w*\b(?!\s*\()/g),
    ].map(([name]) => name)

  t.test('every metric of the dashboard exists, and every one of ours is on it', async (t) => {
    const dashboard = JSON.parse(read('deploy/grafana/farebox.json'))
    const expressions: string[] = dashboard.panels.flatMap((panel: { targets: { expr: string }[] }) =>
      panel.targets.map(({ expr }) => expr),
    )
    const named = expressions.flatMap(namesIn)
    t.ok(named.length >= expressions.length)
    for (const name of named) t.ok(exists(name) || OF_PROMETHEUS.has(name), name)
    const base = new Set(named.map((name) => (exposed.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, ''))))
    t.same(
      [...exposed.keys()].filter((name) => name.startsWith('farebox_') && !base.has(name)),
      [],
    )
    t.equal(new Set(dashboard.panels.map(({ id }: { id: number }) => id)).size, dashboard.panels.length)
  })

  t.test('every metric of the alerts exists, and every rule is whole', async (t) => {
    const rules: { alert: string; expr: string; labels: { severity: string }; annotations: { summary: string } }[] = parse(
      read('deploy/prometheus/alerts.yaml'),
    ).groups.flatMap((group: { rules: object[] }) => group.rules)
    t.ok(rules.length >= 12)
    t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
    for (const { alert, expr, labels, annotations } of rules) {
      const named = namesIn(expr)
      t.ok(named.length > 0, alert)
      for (const name of named) t.ok(exists(name) || OF_PROMETHEUS.has(name), `${alert}: ${name}`)
      t.match(labels.severity, /^(?:page|warn)$/)
      t.ok(annotations.summary.length > 10)
    }
  })
})
