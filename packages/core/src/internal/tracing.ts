/**
 * Tracers that are told less. The platform hands its tracer the whole answer or error when the span of a request ends, and the
 * headers of the answer as attributes; exporters print both.
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"

/** @internal Keeps nothing of what it is told. */
export const builtIn: Tracer.Tracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** @internal What a tracer is told in place of what it would be. */
export interface Rules {
  readonly attribute: (key: string, value: unknown) => unknown
  readonly exit: (exit: Exit.Exit<unknown, unknown>) => Exit.Exit<unknown, unknown>
}

/** The span itself, for its tracer may want no other. */
const watched = (span: Tracer.Span, rules: Rules): Tracer.Span => {
  if (!Object.isExtensible(span)) return span
  const attribute = span.attribute.bind(span)
  const end = span.end.bind(span)
  return Object.assign(span, {
    attribute: (key: string, value: unknown) => attribute(key, rules.attribute(key, value)),
    end: (endTime: bigint, exit: Exit.Exit<unknown, unknown>) => end(endTime, rules.exit(exit))
  })
}

/** @internal */
export const withholding = (tracer: Tracer.Tracer, rules: Rules): Tracer.Tracer =>
  Tracer.make({
    span: (...args) => watched(tracer.span(...args), rules),
    context: (run, fiber) => tracer.context(run, fiber)
  })

/** A server may repeat in its headers what it was sent in the form. */
const nothing: Rules = {
  attribute: (key, value) => key.startsWith("http.response.header.") ? "<redacted>" : value,
  exit: (exit) => Exit.isSuccess(exit) ? Exit.void : Exit.fail("the request failed")
}

/** @internal Spans within say what is asked and with which status it is answered, and nothing else. */
export const withoutContents = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.tracer, (tracer) => Effect.withTracer(effect, withholding(tracer, nothing)))
