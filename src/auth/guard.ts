import type { FastifyPluginAsync, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { assert, type FareboxError, fail } from '../kernel/errors.ts'
import { type Authenticator, createAuthenticator } from './authenticate.ts'
import { type JwtOptions, setUpTokens, type TokenSigner } from './jwt.ts'
import type { KeyStore } from './key-store.ts'
import { hasScope, type Principal, type Scope, type Speaker, toSpeaker } from './principal.ts'

/**
 * Every route says who may call it, in its `config`; one that says nothing does not start. The guard reads that config, never the
 * URL, which has more spellings than anyone thinks of.
 */

declare module 'fastify' {
  interface FastifyInstance {
    auth: { readonly authenticator: Authenticator; readonly signToken: TokenSigner | null }
  }
  interface FastifyRequest {
    /** Who speaks; null on public routes only. `principalOf` reads it. */
    principal: Principal | null
    /** Whether the route is for admins only. */
    asAdmin: boolean
  }
  interface FastifyContextConfig {
    /** Who may call: a scope, `self` for keys with `keyScope` and people on what is their own, or everyone. */
    scope?: Scope | 'public' | 'self'
    /** What a key needs on a route of scope `self`. */
    keyScope?: Scope
  }
}

export interface GuardOptions {
  readonly store: Pick<KeyStore, 'findActiveKey' | 'findClient'>
  readonly jwt: JwtOptions
  /** Prefixes of routes that other plugins register without a config and that everyone may read: the documentation. */
  readonly publicPrefixes?: readonly string[]
  readonly clock?: () => number
  /** Asked before the credential of somebody unknown is looked at. */
  readonly admitStranger?: (request: FastifyRequest) => Promise<void>
}

const guard: FastifyPluginAsync<GuardOptions> = async (app, options) => {
  const { verify, sign } = await setUpTokens(app, options.jwt)
  const authenticator = createAuthenticator({ store: options.store, verifyToken: verify, ...(options.clock && { clock: options.clock }) })
  app.decorate('auth', { authenticator, signToken: sign })
  app.decorateRequest('principal', null)
  app.decorateRequest('asAdmin', false)

  const { admitStranger } = options
  app.addHook('onRoute', (route) => {
    checkDeclaration(route, options.publicPrefixes ?? [])
    const { scope, keyScope } = route.config ?? {}
    if (scope === 'public') return
    // A hook of each route, which knows its scope (`request.routeOptions` is made anew at each look), and the first of them.
    const hook: onRequestHookHandler = (request, _reply, done) => {
      let found: Principal | Promise<Principal>
      try {
        found = authenticator.authenticate(request.headers.authorization, admitStranger && (() => admitStranger(request)))
      } catch (error) {
        return done(error as Error)
      }
      if (found instanceof Promise) found.then((principal) => done(admit(request, principal, scope, keyScope)), done)
      else done(admit(request, found, scope, keyScope))
    }
    route.onRequest = [hook, route.onRequest ?? []].flat()
  })
}

/** Lets a principal in, or says why not. */
function admit(
  request: FastifyRequest,
  principal: Principal,
  scope: string | undefined,
  keyScope: Scope | undefined,
): FareboxError | undefined {
  request.principal = principal
  request.asAdmin = scope === 'admin'
  request.clientId = principal.clientId
  const personal = scope === 'self' && principal.kind === 'user'
  const needed = scope === 'self' ? keyScope : (scope as Scope | undefined)
  if (personal || (needed !== undefined && hasScope(principal, needed))) return undefined
  return fail('forbidden', principal.kind === 'key' ? `This key lacks the scope ${needed}.` : 'This token may not do that.')
}

function checkDeclaration(route: RouteOptions, publicPrefixes: readonly string[]): void {
  if (publicPrefixes.some((prefix) => route.url === prefix || route.url.startsWith(`${prefix}/`))) {
    route.config = { ...route.config, operation: 'documentation', scope: 'public' }
    return
  }
  const { operation, scope, keyScope } = route.config ?? {}
  const complete = operation && scope && (scope !== 'self' || keyScope)
  if (!complete) throw new Error(`${route.method} ${route.url} does not declare its operation and scope.`)
}

/** Who speaks on a route that is not public. */
export function principalOf(request: FastifyRequest): Principal {
  const { principal } = request
  assert(principal !== null, 'a route without a principal asked for it')
  return principal
}

/** The speaker of a request's command. On admin routes the ledger shows that an admin acted. */
export function speakerOf(request: FastifyRequest): Speaker {
  return toSpeaker(principalOf(request), request.id, request.asAdmin)
}

/** Authenticates and authorises every request, and offers `app.auth`. */
export const guardPlugin = fp(guard, { name: 'farebox-guard', fastify: '5.x', dependencies: ['farebox-context', 'farebox-problem'] })
