import t from 'tap'
import {
  hasScope,
  isScope,
  ownOwner,
  type Principal,
  type Role,
  SCOPES,
  type Scope,
  SUBJECT_PATTERN,
  toSpeaker,
} from '../../src/auth/principal.ts'

const key = (...scopes: Scope[]): Principal => ({
  kind: 'key',
  clientId: 'c1',
  scopes: new Set(scopes),
  subject: null,
  actor: 'key:fbx_ab12cd34',
  credentialHash: 'h',
  expiresAt: null,
})
const person = (role: Role): Principal => ({
  ...key(...(role === 'admin' ? (['admin'] as const) : [])),
  kind: 'user',
  subject: 'alice',
  actor: 'user:alice',
})

t.test('admin implies every scope, no other scope implies another', async (t) => {
  for (const scope of SCOPES) {
    t.ok(hasScope(key('admin'), scope))
    for (const other of SCOPES) if (other !== 'admin') t.equal(hasScope(key(other), scope), other === scope, `${other} → ${scope}`)
  }
  t.ok(isScope('admin'))
  t.notOk(isScope('everything'))
})

t.test('a person sees the own wallets, an admin and a backend are not limited to an owner', async (t) => {
  t.same(ownOwner(person('user')), { ownerKind: 'user', ownerId: 'alice' })
  t.equal(ownOwner(person('admin')), null)
  t.equal(ownOwner(key('wallets:read')), null)
})

t.test('the ledger is told who spoke, and on admin routes that an admin did', async (t) => {
  t.same(toSpeaker(key('usage:write'), 'r', false), { clientId: 'c1', everyClient: false, actor: 'key:fbx_ab12cd34', requestId: 'r' })
  t.same(toSpeaker(key('admin'), 'r', true), { clientId: 'c1', everyClient: true, actor: 'admin:key:fbx_ab12cd34', requestId: 'r' })
  t.match(toSpeaker(person('admin'), 'r', true), { actor: 'admin:user:alice', everyClient: true })
  t.match(toSpeaker(person('user'), 'r', false), { actor: 'user:alice', everyClient: false })
})

t.test('subjects are owner ids', async (t) => {
  for (const subject of ['alice', 'a.b_c-d+e@example.com', 'x'.repeat(128)]) t.match(subject, SUBJECT_PATTERN)
  for (const subject of ['', 'x'.repeat(129), 'a b', 'a:b', 'a/b', 'é', 'a\n', '\0'])
    t.notOk(SUBJECT_PATTERN.test(subject), JSON.stringify(subject))
})
