import { chmodSync } from 'node:fs'
import t from 'tap'
import { farebox, freePort, ready, startService, temporary } from '../helpers/cli.ts'

t.setTimeout(300_000)

t.test('commands work on the embedded database, beside a running service and without one', async (t) => {
  const dataDir = temporary(t)
  // As root the server runs as another user, who must be able to pass.
  chmodSync(dataDir, 0o711)
  const env = { DATA_DIR: dataDir }
  const service = await startService(env, await freePort())
  t.teardown(() => service.kill())
  await ready(service)

  const beside = await farebox(['verify'], env)
  t.equal(beside.status, 0, beside.stderr)
  t.match(beside.stdout, /All \d+ invariants hold/)
  t.equal((await fetch(`${service.url}/readyz`)).status, 200, 'the service goes on')
  t.match((await farebox(['doctor'], env)).stdout, /the embedded one of the running service/)
  t.match((await farebox(['keys', 'list'], env)).stdout, /first admin key/)

  await service.stop()
  const alone = await farebox(['verify'], env)
  t.equal(alone.status, 0, alone.stderr)
  const list = await farebox(['keys', 'list'], env)
  t.match(list.stdout, /first admin key/, 'the server was stopped and could be started again')
  const doctor = await farebox(['doctor'], env)
  t.equal(doctor.status, 0, doctor.stdout)
  t.match(doctor.stdout, /^ok {4}fsync {9}on$/m)
  t.match(doctor.stdout, /GB free for/)
})

t.test('joins a service that is only just starting, and takes over from one that was killed', async (t) => {
  const dataDir = temporary(t)
  chmodSync(dataDir, 0o711)
  const env = { DATA_DIR: dataDir }
  const seed = await farebox(['seed'], env)
  t.equal(seed.status, 0, seed.stderr)
  t.match(seed.stdout, /^added {2}\d+ prices/)

  const service = await startService(env, await freePort())
  t.teardown(() => service.kill())
  const during = await farebox(['verify'], env)
  // Whoever comes first starts the server; the other one joins it or says who has it.
  if (service.child.exitCode === null) {
    t.equal(during.status, 0, during.stderr)
    await ready(service)
    await service.kill()
  }
  const after = await farebox(['verify'], env)
  t.equal(after.status, 0, after.stderr)
})
