import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { ROLES } from '../../src/jobs/role.ts'
import type { Body } from '../helpers/service.ts'

/** What the files for operators say, compared with the code and with each other. That an engine takes them is not shown here. */

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const keysOfConfig = [...read('src/config.ts').matchAll(/^ {2}([A-Z]+(?:_[A-Z]+)*): /gm)].map(([, key]) => key as string)
const dockerfile = read('Dockerfile')
const stages = dockerfile.split(/^FROM /m).slice(1)
const final = stages.at(-1) as string
const compose: Body = parse(read('docker-compose.yml'), { merge: true })
const services: [string, Body][] = Object.entries(compose.services)
const ours = services.filter(([, service]) => service.image === 'farebox')
const files = readdirSync(join(root, 'deploy/k8s')).sort()
const objects: Body[] = files.flatMap((file) =>
  parseAllDocuments(read(`deploy/k8s/${file}`)).map((document) => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors[0]?.message}`)
    return document.toJS()
  }),
)
const ofKind = (kind: string) => objects.filter((object) => object.kind === kind)

/** A command of ours as the image runs it: a file that the build makes, and arguments that it knows. */
function isOurCommand([node, maps, script, ...args]: readonly string[]): boolean {
  if (node !== 'node' || maps !== '--enable-source-maps') return false
  if (script === 'dist/main.js') return args[0] === '--role' && ROLES.some((role) => role === args[1]) && args.length === 2
  return script === 'dist/cli.js' && args.length === 1 && read('src/cli.ts').includes(`['${args[0]}', `)
}

t.test('the image has no build tools, runs as nobody special, and looks after its process 1', async (t) => {
  t.equal(stages.length, 3)
  for (const stage of stages) t.match(stage, /^node:24-bookworm-slim\b/)
  t.match(final, /^USER node$/m)
  t.match(final, /^HEALTHCHECK /m)
  t.match(final, /^ENTRYPOINT \["tini", "--"\]$/m)
  t.match(final, /^CMD \["node", "--enable-source-maps", "dist\/main\.js"\]$/m)
  t.notMatch(final, /npm |COPY \. /, 'nothing is installed or copied wholesale in the last stage')
  t.match(stages[1], /test ! -e node_modules\/prisma/)
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)]
    .flatMap(([, paths]) => (paths as string).split(' '))
    .filter((path) => path !== '.')
  const allowed = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
  for (const path of copied)
    t.ok(
      allowed.some((one) => path === one || path.startsWith(`${one}/`)),
      `${path} reaches the build`,
    )
})

t.test('compose: every service says whether it is well or ends by itself, and nobody waits for ever', async (t) => {
  for (const [name, service] of services) {
    const isAwaited = ([, other]: [string, Body]) => other.depends_on?.[name]?.condition === 'service_completed_successfully'
    if (service.healthcheck?.disable) {
      t.ok(services.filter(isAwaited).length >= 2, `${name} ends, and the others wait for that`)
      t.not(service.restart, 'unless-stopped')
    } else {
      t.ok(service.healthcheck?.test || service.image === 'farebox', `${name} has a health check, its own or the image's`)
      t.equal(service.restart, 'unless-stopped', name)
    }
    for (const needed of Object.keys(service.depends_on ?? {})) t.ok(needed in compose.services, `${name} depends on ${needed}`)
  }
  t.same(ours.map(([name]) => name).sort(), ['api', 'migrate', 'worker'])
})

t.test('compose: commands exist, variables are known and explained', async (t) => {
  for (const [name, service] of ours) {
    t.ok(isOurCommand(service.command), `${name}: ${service.command.join(' ')}`)
    for (const key of Object.keys(service.environment)) t.ok(keysOfConfig.includes(key), `${name}: ${key} is read by src/config.ts`)
    t.equal(service.read_only, true)
    t.same(service.cap_drop, ['ALL'])
  }
  const [head = '', body = ''] = read('docker-compose.yml').split('\nx-farebox:')
  const explained = [...head.matchAll(/\b([A-Z_]{4,})=/g)].map(([, name]) => name)
  const used = [...body.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name)
  t.same([...new Set(used)].sort(), [...new Set(explained)].sort())
  t.notMatch(body, /(SECRET|PASSWORD): (?!\$\{|.*\$\{)/, 'no secret has a value')
})

t.test('compose: the owner of the tables is known to the migration alone', async (t) => {
  for (const [name, service] of services) {
    const text = JSON.stringify(service.environment ?? {})
    t.equal(text.includes('FAREBOX_DB_OWNER_PASSWORD'), ['migrate', 'postgres'].includes(name), name)
    t.equal(text.includes('POSTGRES_PASSWORD'), name === 'postgres', name)
  }
  const { environment } = compose.services.migrate
  t.match(environment.MIGRATION_DATABASE_URL, /^postgresql:\/\/farebox_owner:/)
  t.match(environment.DATABASE_URL, /^postgresql:\/\/farebox@/)
  const script = read('deploy/postgres/10-farebox.sh')
  for (const name of ['FAREBOX_DB_PASSWORD', 'FAREBOX_DB_OWNER_PASSWORD']) {
    t.ok(script.includes(`$${name}`), `the script reads ${name}`)
    t.ok(name in compose.services.postgres.environment, `and is given it`)
  }
})

t.test('compose: as many ports as there are processes that answer', async (t) => {
  const { ports, deploy } = compose.services.api
  const [, first, last] = /:-(\d+)-(\d+)\}:8080$/.exec(ports[0]) ?? []
  t.equal(Number(last) - Number(first) + 1, deploy.replicas)
  t.equal(compose.services.worker.ports, undefined)
})

t.test('kubernetes: what there is', async (t) => {
  t.same(files, ['api.yaml', 'config.yaml', 'migrate.yaml', 'worker.yaml'])
  t.same(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(), [
    'ConfigMap farebox',
    'Deployment farebox-api',
    'Deployment farebox-worker',
    'HorizontalPodAutoscaler farebox-api',
    'Job farebox-migrate',
    'PodDisruptionBudget farebox-api',
    'Service farebox',
    'ServiceAccount farebox',
  ])
  const [config] = ofKind('ConfigMap')
  for (const key of Object.keys(config.data)) t.ok(keysOfConfig.includes(key), key)
})

t.test('kubernetes: every container runs as the image means it', async (t) => {
  const version = JSON.parse(read('package.json')).version
  for (const { kind, metadata, spec } of [...ofKind('Deployment'), ...ofKind('Job')]) {
    const pod = spec.template.spec
    t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } }, metadata.name)
    t.equal(pod.automountServiceAccountToken, false)
    t.same(pod.containers.length, 1)
    const [container] = pod.containers
    t.equal(container.image, `farebox:${version}`)
    t.equal(container.command, undefined, 'the entry point stays: process 1 is tini')
    t.ok(isOurCommand(container.args), container.args.join(' '))
    t.same(container.securityContext, { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } })
    t.ok(container.resources.requests.cpu && container.resources.requests.memory && container.resources.limits.memory)
    const names = container.env.map(({ name }: { name: string }) => name)
    for (const name of names) t.ok(keysOfConfig.includes(name), name)
    for (const { valueFrom } of container.env) t.ok(valueFrom.secretKeyRef, 'secrets come from a Secret')
    t.equal(names.includes('MIGRATION_DATABASE_URL'), kind === 'Job', "the owner's address is the migration's alone")
    if (kind === 'Job') continue
    t.match(container.livenessProbe.httpGet, { path: '/healthz', port: 'http' })
    t.match(container.startupProbe.httpGet, { path: '/healthz', port: 'http' })
    t.match(container.readinessProbe.httpGet, { path: '/readyz', port: 'http' })
    t.ok(pod.terminationGracePeriodSeconds >= 15 + 5, 'longer than the service takes to stop')
    t.same(spec.selector.matchLabels, spec.template.metadata.labels)
  }
})

t.test('kubernetes: what selects, selects the processes that answer', async (t) => {
  const api = ofKind('Deployment').find(({ metadata }) => metadata.name === 'farebox-api')
  const labels = api.spec.template.metadata.labels
  t.same(ofKind('Service')[0].spec.selector, labels)
  t.same(ofKind('PodDisruptionBudget')[0].spec.selector.matchLabels, labels)
  const [scaler] = ofKind('HorizontalPodAutoscaler')
  t.same(scaler.spec.scaleTargetRef, { apiVersion: 'apps/v1', kind: 'Deployment', name: 'farebox-api' })
  t.equal(api.spec.replicas, undefined, 'the scaler decides how many')
  t.ok(scaler.spec.minReplicas > ofKind('PodDisruptionBudget')[0].spec.minAvailable, 'one may always be moved')
  const ports = api.spec.template.spec.containers[0].ports
  t.ok(ports.some(({ name }: Body) => name === ofKind('Service')[0].spec.ports[0].targetPort))
})
