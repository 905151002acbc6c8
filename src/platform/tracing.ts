import type { Tracer } from '@opentelemetry/api'
import type { SpanExporter } from '@opentelemetry/sdk-trace'

/**
 * Spans for an OpenTelemetry collector: one a request, one a batch of the lane. They are made when the work is over, from its
 * measured time, so nothing is carried along with it; and they wait in a bounded queue that drops, so nobody ever waits for them.
 * None of the libraries is loaded where no collector is configured.
 */

const QUEUE_MAX = 8_192
const EXPORTED_AT_ONCE = 512
const EXPORT_EVERY_MS = 1_000
/** Of one export, and of the last ones when the process stops. */
const EXPORT_MS_MAX = 3_000

/** W3C Trace Context, version 00 and what later versions begin with. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/

export interface TracedRequest {
  readonly operation: string
  readonly status: number
  readonly seconds: number
  readonly requestId: string
  readonly traceparent: string | undefined
}

export interface Tracing {
  /** A request that has just been answered. */
  request(request: TracedRequest): void
  /** A batch of the lane that has just ended. */
  batch(commands: number, seconds: number, outcome: string): void
  /** Sends what is left, within a bound. */
  stop(): Promise<void>
}

export interface TracingOptions {
  /** The collector's base, as in OTEL_EXPORTER_OTLP_ENDPOINT; the libraries read OTEL_EXPORTER_OTLP_HEADERS by themselves. */
  readonly endpoint: string
  readonly serviceName: string
  readonly log: { warn(fields: object, message: string): void; info(message: string): void }
}

/** Loads OpenTelemetry and starts exporting. */
export async function startTracing({ endpoint, serviceName, log }: TracingOptions): Promise<Tracing> {
  const [api, sdk, { resourceFromAttributes }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ])
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces`, timeoutMillis: EXPORT_MS_MAX })
  const processor = new sdk.BatchSpanProcessor({
    exporter: withNews(exporter, log),
    maxQueueSize: QUEUE_MAX,
    maxExportBatchSize: EXPORTED_AT_ONCE,
    scheduledDelayMillis: EXPORT_EVERY_MS,
    exportTimeoutMillis: EXPORT_MS_MAX,
  })
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ 'service.name': serviceName }),
    // What the caller does not record is not recorded here either.
    sampler: new sdk.ParentBasedSampler({ root: new sdk.AlwaysOnSampler() }),
    spanProcessors: [processor],
  })
  const tracer: Tracer = provider.getTracer('farebox')

  function write(name: string, seconds: number, attributes: Record<string, string | number>, failed: boolean, traceparent?: string): void {
    const endTime = Date.now()
    const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? '') ?? []
    const parent =
      traceId && spanId && flags
        ? api.trace.setSpanContext(api.ROOT_CONTEXT, { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true })
        : api.ROOT_CONTEXT
    const kind = name === BATCH ? api.SpanKind.INTERNAL : api.SpanKind.SERVER
    const span = tracer.startSpan(name, { kind, startTime: endTime - seconds * 1_000, attributes }, parent)
    if (failed) span.setStatus({ code: api.SpanStatusCode.ERROR })
    span.end(endTime)
  }

  return {
    request({ operation, status, seconds, requestId, traceparent }) {
      const attributes = { 'farebox.operation': operation, 'http.response.status_code': status, 'farebox.request_id': requestId }
      write(operation, seconds, attributes, status >= 500, traceparent)
    },
    batch(commands, seconds, outcome) {
      write(BATCH, seconds, { 'farebox.batch.commands': commands, 'farebox.batch.outcome': outcome }, outcome === 'failed')
    },
    async stop() {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, EXPORT_MS_MAX)
      await Promise.race([provider.shutdown().catch(() => {}), promise])
      clearTimeout(timer)
    },
  }
}

const BATCH = 'lane.batch'

/** Says when the collector goes away and when it is back, not each time. */
function withNews(exporter: SpanExporter, log: TracingOptions['log']): SpanExporter {
  let isAway = false
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const failed = result.error !== undefined
        if (failed && !isAway) log.warn({ err: result.error }, 'the collector of traces cannot be reached; spans are lost')
        if (!failed && isAway) log.info('the collector of traces takes spans again')
        isAway = failed
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
  }
}
