/** Keeps what is exported, in place of a collector, and makes lines of it. */
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader
} from "@opentelemetry/sdk-metrics"
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect } from "effect"

const spans = new InMemorySpanExporter()
const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)

export const spanProcessor = new SimpleSpanProcessor(spans)
/** Exports when it is told to. */
export const metricReader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 })

export interface Line {
  readonly depth: number
  readonly name: string
  readonly attributes: string
}

const shown = (attributes: ReadableSpan["attributes"], prefix: string): string =>
  Object.entries(attributes)
    .filter(([name]) => name.startsWith(prefix) || name === "http.response.status_code")
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ")

/** The spans as a tree, in the order in which they began. */
export const tree = (): ReadonlyArray<Line> => {
  const finished = [...spans.getFinishedSpans()]
  const names = new Map(finished.map((span) => [span.spanContext().spanId, span.name]))
  const begun = ({ startTime }: ReadableSpan) => startTime[0] * 1e9 + startTime[1]
  const linked = ({ links }: ReadableSpan) =>
    links.map(({ context }) => `(for "${names.get(context.spanId) ?? "another"}")`)
  const below = (parent: string | undefined, depth: number): ReadonlyArray<Line> =>
    finished
      .filter(({ parentSpanContext }) =>
        parent === undefined
          ? parentSpanContext === undefined || !names.has(parentSpanContext.spanId)
          : parentSpanContext?.spanId === parent
      )
      .sort((a, b) => begun(a) - begun(b))
      .flatMap((span) => [
        { depth, name: span.name, attributes: [shown(span.attributes, "oauth."), ...linked(span)].join(" ") },
        ...below(span.spanContext().spanId, depth + 1)
      ])
  return below(undefined, 0)
}

/** The library's metrics by name and tags: counters as they are, of histograms how much was observed. */
export const values = Effect.gen(function*() {
  yield* Effect.promise(() => metricReader.forceFlush())
  const latest = metrics.getMetrics().at(-1)?.scopeMetrics.flatMap((scope) => scope.metrics) ?? []
  const found = new Map<string, number>()
  for (const metric of latest) {
    if (!metric.descriptor.name.startsWith("oauth_")) continue
    for (const { attributes, value } of metric.dataPoints) {
      const tags = Object.entries(attributes)
        .filter(([name]) => name !== "unit" && name !== "time_unit")
        .map(([name, tag]) => `${name}=${String(tag)}`)
        .join(",")
      const name = tags === "" ? metric.descriptor.name : `${metric.descriptor.name}{${tags}}`
      found.set(
        name,
        metric.dataPointType === DataPointType.HISTOGRAM ? (value as { readonly count: number }).count : value as number
      )
    }
  }
  return found
})

/** Everything that left the program, as text. */
export const everything = (): string =>
  JSON.stringify([
    spans.getFinishedSpans().map(({ attributes, events, links, name, status }) => ({
      attributes,
      events,
      links: links.map((link) => link.attributes),
      name,
      status
    })),
    metrics.getMetrics().map(({ scopeMetrics }) => scopeMetrics)
  ])
