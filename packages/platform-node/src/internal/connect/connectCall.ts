/**
 * One call of a Connect client, put through the middleware: to it, what an attempt is answered with is the answer to an HTTP
 * request, 401 for `Unauthenticated`.
 */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect"
import type { AccessToken } from "@effect-oauth/core/AccessToken"
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import type { RequestContext, TokenRetriever } from "@effect-oauth/core/TokenRetriever"
import * as UntrustedText from "@effect-oauth/core/UntrustedText"
import * as Headers from "@effect/platform/Headers"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Stream from "effect/Stream"
import { tokenFailure } from "../tokenFailure.ts"

type Next = Parameters<Interceptor>[0]
/** @internal */
export type Request = Parameters<Next>[0]
type Answer = Awaited<ReturnType<Next>>
type StreamAnswer = Extract<Answer, { readonly stream: true }>
type Messages = StreamAnswer["message"]

interface Settings extends Pick<AccessTokenHttpClient.Options, "allowedOrigins" | "allowInsecure"> {
  readonly retryUnauthenticated?: boolean | undefined
}

const codes = {
  passing: Code.Unavailable,
  lasting: Code.Unauthenticated,
  interrupted: Code.Canceled,
  defect: Code.Internal
}

const isUnauthenticated = (error: unknown): error is ConnectError =>
  error instanceof ConnectError && error.code === Code.Unauthenticated

/** One message, or none and a stream of them: what can be sent as often as is needed. */
const isRepeatable = ({ method }: Request): boolean =>
  method.methodKind === "unary" || method.methodKind === "server_streaming"

/** The message of a server stream comes as an iterable that can be read once. */
const kept = async (request: Request): Promise<() => Request> => {
  if (!request.stream || !isRepeatable(request)) return () => request
  const messages: Array<unknown> = []
  for await (const message of request.message) messages.push(message)
  return () => ({ ...request, message: iterate(messages) as Messages })
}

async function* iterate(messages: ReadonlyArray<unknown>) {
  yield* messages
}

/** With the headers that the middleware has put on the attempt. */
const signed = (request: Request, { authorization, dpop }: Headers.Headers): Request => {
  const header = new globalThis.Headers(request.header)
  if (authorization !== undefined) header.set("authorization", authorization)
  if (dpop !== undefined) header.set("dpop", dpop)
  return { ...request, header }
}

/** A server stream whose first message is there: until then, it can be an error that is healed. */
const begun = async (answer: Answer): Promise<Answer> => {
  if (!answer.stream || answer.method.methodKind !== "server_streaming") return answer
  const messages = answer.message[Symbol.asyncIterator]()
  const first = await messages.next()
  let isFirst = true
  const next = () => {
    if (!isFirst) return messages.next()
    isFirst = false
    return Promise.resolve(first)
  }
  return { ...answer, message: { [Symbol.asyncIterator]: () => ({ next }) } }
}

/** A stream that tells of the refusal that ends it, before its reader learns of it. */
const watched = (
  answer: Answer,
  onRefusal: () => Promise<void>,
  token: () => AccessToken | undefined
): Answer => {
  if (!answer.stream) return answer
  const messages = answer.message[Symbol.asyncIterator]()
  const next = () =>
    messages.next().catch(async (error: unknown) => {
      const sent = token()
      if (isUnauthenticated(error)) await onRefusal()
      throw withoutToken(error, sent)
    })
  return { ...answer, message: { [Symbol.asyncIterator]: () => ({ next }) } }
}

/** An error is printed, and a server may repeat the token in it. */
const withoutToken = (error: unknown, token: AccessToken | undefined): unknown => {
  if (!(error instanceof ConnectError) || token === undefined) return error
  const redact = (text: string) => UntrustedText.redact(text, [Redacted.value(token.value)])
  const metadata = new globalThis.Headers(error.metadata)
  for (const [name, value] of error.metadata) {
    const redacted = redact(value)
    if (redacted !== value) metadata.set(name, redacted)
  }
  const bare = new ConnectError(redact(error.rawMessage), error.code, metadata, undefined, error.cause)
  bare.details = error.details
  return bare
}

/** How an attempt ended. */
type Outcome = { readonly answer: Answer } | { readonly error: unknown }

/** As the middleware understands it. */
const responseTo = (request: HttpClientRequest.HttpClientRequest, outcome: Outcome) => {
  const [status, headers] = "answer" in outcome
    ? [200, outcome.answer.header]
    : [
      isUnauthenticated(outcome.error) ? 401 : 500,
      outcome.error instanceof ConnectError ? outcome.error.metadata : []
    ]
  return HttpClientResponse.fromWeb(request, new Response(null, { status, headers }))
}

const toConnectError = (exit: Exit.Failure<unknown, unknown>, request: Request): ConnectError => {
  const { error, kind, text } = tokenFailure(exit.cause)
  if (kind === "interrupted") return ConnectError.from(request.signal.reason, Code.Canceled)
  return new ConnectError(text, codes[kind], undefined, undefined, error)
}

/** @internal */
export const intercept = <E, R>(
  retriever: TokenRetriever<E, R>,
  runtimeOf: (request: Request) => Runtime.Runtime<R>,
  settings: Settings
): Interceptor => {
  const heals = settings.retryUnauthenticated !== false
  const options: AccessTokenHttpClient.Options = {
    allowedOrigins: settings.allowedOrigins,
    allowInsecure: settings.allowInsecure,
    ...(heals ? {} : { retryUnauthorized: false as const })
  }

  return (next) => async (request) => {
    const runtime = runtimeOf(request)
    const sendable = await kept(request)
    let outcome: Outcome | undefined
    let sent: { readonly context: RequestContext; readonly token: AccessToken } | undefined

    const transport = HttpClient.make((attempt) =>
      Effect.promise(async () => {
        try {
          outcome = { answer: await begun(await next(signed(sendable(), attempt.headers))) }
        } catch (error) {
          outcome = { error }
        }
        return responseTo(attempt, outcome)
      })
    )
    const noting: TokenRetriever<E, R> = (context) =>
      Effect.tap(retriever(context), (token) => {
        sent = { context, token }
      })

    /** So that the next call has another token. */
    const renew = async (): Promise<void> => {
      if (!heals || sent === undefined) return
      const { context, token: rejected } = sent
      const renewal = retriever({ ...context, forceRenewal: true, rejected })
      await Runtime.runPromiseExit(runtime)(renewal, { signal: request.signal })
    }

    const exit = await Runtime.runPromiseExit(runtime)(
      AccessTokenHttpClient.make(noting, options)(transport).execute(
        HttpClientRequest.make("POST")(request.url, {
          headers: Headers.fromInput(request.header),
          body: isRepeatable(request) ? HttpBody.empty : HttpBody.stream(Stream.empty)
        })
      ),
      { signal: request.signal }
    )
    if (Exit.isFailure(exit)) throw toConnectError(exit, request)
    if (outcome === undefined) throw new ConnectError("the call was not sent", Code.Internal)
    if ("answer" in outcome) return watched(outcome.answer, renew, () => sent?.token)
    if (!isRepeatable(request) && isUnauthenticated(outcome.error)) await renew()
    throw withoutToken(outcome.error, sent?.token)
  }
}
