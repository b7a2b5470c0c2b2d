import { Layer, Tracer } from "effect"

/** A tracer that keeps the spans that have ended, and how they did. */
export const recordingTracer = () => {
  const ended: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      let status: Tracer.SpanStatus = { _tag: "Started", startTime }
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: String(ended.length),
        traceId: "trace",
        parent,
        context,
        links,
        sampled: true,
        kind,
        get status() {
          return status
        },
        attributes,
        attribute: (key, value) => void attributes.set(key, value),
        event: () => {},
        addLinks: () => {},
        end: (endTime, exit) => {
          status = { _tag: "Ended", startTime, endTime, exit }
          ended.push(span)
        }
      }
      return span
    },
    context: (f) => f()
  })
  return { ended, layer: Layer.setTracer(tracer) }
}
