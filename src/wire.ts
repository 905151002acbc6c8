import { createKeyStore } from './auth/key-store-prisma.ts'
import { cancelOrder, cancelUnpaid } from './billing/cancel-order.ts'
import type { Gateway } from './billing/gateway.ts'
import { inbox } from './billing/inbox-prisma.ts'
import { packageStore } from './billing/packages-prisma.ts'
import type { Payment } from './billing/payment.ts'
import { paymentReads } from './billing/payments-prisma.ts'
import { createProcessor } from './billing/processor.ts'
import { firstPaymentStore, redemptionStore } from './billing/promotion/store-pg.ts'
import { type PromotionStore, promotionStore } from './billing/promotion/store-prisma.ts'
import { type Reconciled, reconcile, reconcileDue } from './billing/reconcile.ts'
import { createSandboxGateway } from './billing/sandbox/gateway.ts'
import { sandboxStore } from './billing/sandbox/store-prisma.ts'
import { paymentStore } from './billing/store-pg.ts'
import { createStripeGateway } from './billing/stripe/gateway.ts'
import { planStore } from './billing/subscription/plans-prisma.ts'
import { subscriptionReads } from './billing/subscription/reads-prisma.ts'
import { subscriptionStore } from './billing/subscription/store-pg.ts'
import { type SyncOutcome, sync } from './billing/sync.ts'
import { outbox } from './billing/top-up/outbox-prisma.ts'
import { topUpReads } from './billing/top-up/reads-prisma.ts'
import { runTopUps } from './billing/top-up/run-top-ups.ts'
import { topUpStore } from './billing/top-up/store-pg.ts'
import { estimateWith } from './charges/estimated.ts'
import { chargeOperations } from './charges/operations.ts'
import { chargeReads } from './charges/reads-prisma.ts'
import type { Estimate } from './charges/schemas.ts'
import { chargeStore } from './charges/store-pg.ts'
import type { Payments } from './config.ts'
import { startCounterThread } from './estimates/counter-thread.ts'
import { createEstimator } from './estimates/estimate.ts'
import { grantOperations } from './grants/operations.ts'
import { grantReads } from './grants/reads-prisma.ts'
import { grantStore } from './grants/store-pg.ts'
import type { SharedCounters } from './http/counters.ts'
import { createRedisCounters } from './http/counters-redis.ts'
import { renderProblem } from './http/problem.ts'
import { readBacklog } from './jobs/backlog-prisma.ts'
import { clearOldAnswers } from './jobs/retention.ts'
import { retentionStore } from './jobs/retention-store-prisma.ts'
import { type JobRunner, startJobs } from './jobs/runner.ts'
import { sweep } from './jobs/sweep.ts'
import { fail } from './kernel/errors.ts'
import { createBatchStore } from './ledger/batch-pg.ts'
import { Lane } from './ledger/lane.ts'
import { Places } from './ledger/places.ts'
import type { RowStore } from './ledger/store.ts'
import { type Listening, listen } from './platform/listen-pg.ts'
import type { Logger } from './platform/logger.ts'
import { createMetrics, type Metrics } from './platform/metrics.ts'
import { createPool, createPrisma, databaseClock } from './platform/prisma.ts'
import type { Tracing } from './platform/tracing.ts'
import { keepPriceBook, type PriceBookKeeper } from './pricing/price-book.ts'
import type { PriceBook } from './pricing/prices.ts'
import { priceStore } from './pricing/store-prisma.ts'
import { NO_BUS } from './realtime/bus.ts'
import { createRedisBus } from './realtime/bus-redis.ts'
import { Feed } from './realtime/feed.ts'
import { balanceText } from './realtime/frames.ts'
import { type RealtimeReads, realtimeReads } from './realtime/reads-prisma.ts'
import { REALTIME_TIMES, type RealtimeTimes } from './realtime/times.ts'
import { createCheck } from './reservations/check.ts'
import { readForCheck } from './reservations/check-prisma.ts'
import { reservationOperations } from './reservations/operations.ts'
import { reservationReads } from './reservations/reads-prisma.ts'
import { reservationStore } from './reservations/store-pg.ts'
import { adjustmentOperations } from './wallets/operations.ts'
import { walletReads } from './wallets/reads-prisma.ts'

/** The one file that knows which adapter fills a port. */

/** Batches under way at once: while the database works on one, the process decides the next. */
const LANES = 2
const SWEEP_SECONDS = 1
/** Where the database announces new versions of prices; the migration names it too. */
const PRICES_CHANNEL = 'farebox_prices'
const RETENTION_SECONDS = 3_600
/** Events that were not worked off as they came: their process died, or the provider did not answer. */
const EVENTS_SECONDS = 2
const TOP_UPS_SECONDS = 1
const RECONCILE_SECONDS = 3_600
const UNPAID_SECONDS = 600

/** The rooms whose rows pass through the lane. */
export const ROW_STORES: readonly RowStore[] = [
  grantStore,
  chargeStore,
  reservationStore,
  paymentStore,
  topUpStore,
  redemptionStore,
  firstPaymentStore,
  subscriptionStore,
]

/** Everything a running Farebox is made of, without HTTP. */
export interface Rooms {
  readonly lane: Lane
  readonly keys: ReturnType<typeof createKeyStore>
  readonly walletReads: ReturnType<typeof walletReads>
  readonly grantReads: ReturnType<typeof grantReads>
  readonly chargeReads: ReturnType<typeof chargeReads>
  readonly reservationReads: ReturnType<typeof reservationReads>
  readonly prices: PriceBookKeeper
  readonly priceStore: ReturnType<typeof priceStore>
  readonly estimate: Estimate
  readonly billing: Billing
  readonly feed: Feed
  readonly realtimeReads: RealtimeReads
  readonly realtimeTimes: RealtimeTimes
  /** What all processes have counted of their requests; null without Redis. */
  readonly sharedCounters: SharedCounters | null
  readonly check: ReturnType<typeof createCheck>
  readonly metrics: Metrics
  /** Null where no collector is configured. */
  readonly tracing: Tracing | null
  /** Every money-moving operation, by room. */
  readonly operations: ReturnType<typeof operationsOf>
  /** Resolves when the database answers. */
  ping(): Promise<unknown>
  /** Rejects where the database said of late that it cannot write. */
  checkStorage(): Promise<void>
  /** Starts to learn of what other processes change. */
  listen(): void
  /** Starts the background jobs in this process. */
  startJobs(): Promise<JobRunner>
  /** Finishes what is under way and gives up all connections. */
  close(): Promise<void>
}

/** Money in. */
export interface Billing {
  /** Null where no provider is configured. */
  readonly gateway: Gateway | null
  readonly packages: ReturnType<typeof packageStore>
  readonly orders: ReturnType<typeof paymentReads>
  readonly inbox: ReturnType<typeof inbox>
  readonly sandbox: ReturnType<typeof sandboxStore>
  readonly promotions: PromotionStore
  readonly topUps: ReturnType<typeof topUpReads>
  readonly plans: ReturnType<typeof planStore>
  readonly subscriptions: ReturnType<typeof subscriptionReads>
  /** Tops up the wallets that the lane told of. */
  runTopUps(): Promise<void>
  /** Brings the order behind something at the provider up to date. */
  sync(subject: string, cause: string): Promise<SyncOutcome>
  /** Gives an order up that nobody has paid. */
  cancel(payment: Payment, cause: string): Promise<void>
  /** Gives up those that nobody can be expected to pay any more. */
  cancelUnpaid(): Promise<void>
  /** Works off received events that are due. */
  processEvents(): Promise<void>
  /** The same, in the background. */
  processSoon(): void
  /** Compares a window of the provider's books with ours. */
  reconcile(from: Date, to: Date, onProgress?: (checked: number) => void): Promise<Reconciled>
}

/** Operations need prices when they are decided, not when they are described: the documentation is made without a database. */
export function operationsOf(prices: Pick<PriceBookKeeper, 'current'>, estimate: Estimate) {
  const book = () => prices.current()
  return {
    batchable: [
      ...reservationOperations(book, estimate),
      ...chargeOperations(book, estimate),
      ...grantOperations.filter((operation) => operation.scope !== 'admin'),
    ],
    others: [...grantOperations.filter((operation) => operation.scope === 'admin'), ...adjustmentOperations],
  }
}

/** What the rooms need to know of the installation beside the database. */
export interface RoomOptions {
  readonly redisUrl?: string | undefined
  /** Which provider takes payments, if any. */
  readonly payments?: Payments | null | undefined
  /** Where an owner goes after paying a top-up in person. */
  readonly checkoutReturnUrl?: string | undefined
  readonly tracing?: Tracing | null | undefined
  /** Where they are not to be the usual ones. */
  readonly realtimeTimes?: Partial<RealtimeTimes> | undefined
}

/** Wires the rooms to a database and reads the prices. @throws what the database says when it cannot be reached */
export async function createRooms(url: string, log: Logger, options: RoomOptions = {}): Promise<Rooms> {
  const rooms = wireRooms(url, log, options)
  try {
    await rooms.prices.refresh()
  } catch (error) {
    await rooms.close()
    throw error
  }
  rooms.listen()
  return rooms
}

/** Wires the rooms; nothing connects before it is used. */
export function wireRooms(url: string, log: Logger, options: RoomOptions = {}): Rooms {
  const pool = createPool(url)
  const prisma = createPrisma(url, pool)
  const metrics = createMetrics()
  const { tracing = null } = options
  const store = priceStore(prisma)
  const prices = keepPriceBook(store, log)
  const estimator = createEstimator(startCounterThread, log)
  const estimate = estimateWith(estimator, () => prices.current())
  const places = new Places()
  const realtime = realtimeReads(prisma)
  const realtimeTimes = { ...REALTIME_TIMES, ...options.realtimeTimes }
  const bus = options.redisUrl ? createRedisBus(options.redisUrl, log, realtimeTimes) : NO_BUS
  const feed = new Feed({ reads: realtime, bus, render: balanceText, log }, realtimeTimes)
  const batchStore = (name: string) =>
    createBatchStore({
      url,
      name: `farebox-lane-${name}`,
      stores: ROW_STORES,
      renderRefusal: renderProblem,
      places,
      onCommitted: (changes) => feed.publish(changes),
    })
  const batchStores = Array.from({ length: LANES }, (_, index) => batchStore(`${index + 1}`))
  const lane = new Lane(batchStores, batchStore('siding'), places, log, {
    batchEnded(commands, seconds, outcome) {
      metrics.batchEnded(commands, seconds, outcome)
      tracing?.batch(commands, seconds, outcome)
    },
    batchRetried: metrics.batchRetried,
    refused: metrics.refused,
  })
  metrics.readFrom({
    queueDepth: () => lane.depth,
    feed: () => ({ wallets: feed.size, staleSeconds: feed.staleSeconds, busUp: bus.isUp }),
    pool: () => pool,
    backlog: () => readBacklog(prisma),
  })
  const { payments: provider = null } = options
  const sandbox = sandboxStore(prisma)
  const gateway = provider === null ? null : provider === 'sandbox' ? createSandboxGateway(sandbox) : createStripeGateway(provider.stripe)
  const billing = wireBilling(prisma, gateway, lane, log, sandbox, () => prices.current(), options.checkoutReturnUrl ?? null)
  const rooms = {
    lane,
    keys: createKeyStore(prisma),
    walletReads: walletReads(prisma),
    grantReads: grantReads(prisma),
    chargeReads: chargeReads(prisma),
    reservationReads: reservationReads(prisma),
    prices,
    priceStore: store,
    estimate,
    billing,
    feed,
    realtimeReads: realtime,
    realtimeTimes,
    sharedCounters: options.redisUrl ? createRedisCounters(options.redisUrl, log) : null,
    check: createCheck(readForCheck(prisma), () => prices.current(), estimate),
    metrics,
    tracing,
    operations: operationsOf(prices, estimate),
  }
  let listening: Listening | undefined
  return {
    ...rooms,
    ping: () => prisma.$queryRaw`select 1 as ok`,
    async checkStorage() {
      if (!lane.canStore) throw new Error('the database cannot write')
    },
    startJobs: () =>
      startJobs(
        url,
        [
          {
            name: 'sweep',
            everySeconds: SWEEP_SECONDS,
            // A run that died holds the next one up, and no hold may be late by a minute. Two at once do no harm.
            timeLimitSeconds: 20,
            run: () => sweep({ lane, reservations: rooms.reservationReads, grants: rooms.grantReads }),
          },
          {
            name: 'retention',
            everySeconds: RETENTION_SECONDS,
            timeLimitSeconds: 600,
            run: () =>
              Promise.all([
                clearOldAnswers(retentionStore(prisma)),
                realtime.clearOldTickets(),
                outbox(prisma).clearOld(),
                billing.inbox.clearOld(),
              ]),
          },
          ...(gateway
            ? [
                { name: 'top-ups', everySeconds: TOP_UPS_SECONDS, timeLimitSeconds: 300, run: billing.runTopUps },
                { name: 'payment-events', everySeconds: EVENTS_SECONDS, timeLimitSeconds: 300, run: billing.processEvents },
                { name: 'unpaid-orders', everySeconds: UNPAID_SECONDS, timeLimitSeconds: 600, run: billing.cancelUnpaid },
                {
                  name: 'reconcile',
                  everySeconds: RECONCILE_SECONDS,
                  timeLimitSeconds: 1_800,
                  run: async () => reconcileDue(billing.orders, billing.reconcile, await databaseClock(prisma)),
                },
              ]
            : []),
        ],
        log,
        metrics,
      ),
    listen() {
      listening ??= listen(url, PRICES_CHANNEL, prices.refreshSoon, log)
    },
    async close() {
      prices.stop()
      await listening?.stop()
      await estimator.close()
      await lane.stop()
      // After the lane, so that its last changes are told.
      await feed.close()
      rooms.sharedCounters?.close()
      await prisma.$disconnect()
    },
  }
}

function wireBilling(
  prisma: ReturnType<typeof createPrisma>,
  gateway: Gateway | null,
  lane: Lane,
  log: Logger,
  sandbox: ReturnType<typeof sandboxStore>,
  book: () => PriceBook,
  returnUrl: string | null,
): Billing {
  const orders = paymentReads(prisma)
  const events = inbox(prisma)
  const packages = packageStore(prisma)
  const topUps = topUpReads(prisma)
  const promotions = promotionStore(prisma)
  const plans = planStore(prisma)
  const subscriptions = subscriptionReads(prisma)
  const configured = (): Gateway => {
    if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
    return gateway
  }
  const syncPorts = () => ({ gateway: configured(), lane, orders, plans, subscriptions })
  const syncSubject = (subject: string, cause: string) => sync(syncPorts(), subject, cause)
  const processor = createProcessor({
    inbox: events,
    sync: syncSubject,
    log,
    gateway: configured,
  })
  return {
    gateway,
    packages,
    orders,
    inbox: events,
    sandbox,
    promotions,
    topUps,
    plans,
    subscriptions,
    runTopUps: () =>
      runTopUps({
        gateway: configured(),
        lane,
        outbox: outbox(prisma),
        reads: topUps,
        orders,
        packages,
        book,
        rules: promotions.rulesInForce,
        sync: syncSubject,
        returnUrl,
        log,
      }),
    sync: syncSubject,
    cancel: (payment, cause) => cancelOrder(syncPorts(), payment, cause),
    cancelUnpaid: async () => cancelUnpaid({ ...syncPorts(), log }, await databaseClock(prisma)),
    processSoon: processor.soon,
    processEvents: processor.run,
    async reconcile(from, to, onProgress) {
      const result = await reconcile({ gateway: configured(), inbox: events, orders, sync: syncSubject }, from, to, onProgress)
      if (result.repaired.length > 0) log.warn({ payments: result.repaired }, 'payments that no event had told of were made good')
      if (result.disagreeing.length > 0)
        log.error({ payments: result.disagreeing }, 'payments do not fit their orders: somebody has to look at them')
      return result
    },
  }
}
