/**
 * One call of `AccessTokenFetch`: each of its requests goes through the middleware, over a client that sends what the caller
 * gave, and the two headers that the middleware adds.
 */
import * as PlatformHeaders from "@effect/platform/Headers"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as AccessTokenHttpClient from "../../AccessTokenHttpClient.ts"
import type { TokenRetriever } from "../../TokenRetriever.ts"
import { beyond, originOf, policy } from "../middleware/destination.ts"
import { isReplayable } from "../middleware/replay.ts"
import * as Redirects from "./redirects.ts"

type Input = string | URL | Request

interface Settings extends AccessTokenHttpClient.Options {
  readonly fetch?: ((input: string, init?: RequestInit) => Promise<Response>) | undefined
}

/** What stays the same from hop to hop, and the first of them. */
interface Opened {
  readonly first: Redirects.Hop
  readonly common: RequestInit
  readonly redirect: RequestRedirect
  readonly signal: AbortSignal | undefined
}

const partsOf = (request: Request): RequestInit => ({
  method: request.method,
  headers: request.headers,
  body: request.body,
  cache: request.cache,
  credentials: request.credentials,
  integrity: request.integrity,
  keepalive: request.keepalive,
  mode: request.mode,
  redirect: request.redirect,
  referrer: request.referrer,
  referrerPolicy: request.referrerPolicy,
  signal: request.signal
})

/** These are spelt in capitals, and all others as they come (WHATWG Fetch, normalize a method). */
const normalized = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"])

const methodOf = (method: string | undefined): string => {
  const upper = method?.toUpperCase() ?? "GET"
  return normalized.has(upper) ? upper : method ?? "GET"
}

const open = (input: Input, init: RequestInit | undefined): Opened => {
  const isRequest = input instanceof Request
  const given = Object.fromEntries(Object.entries(init ?? {}).filter(([, value]) => value !== undefined)) as RequestInit
  const { body, headers, method, redirect = "follow", signal, ...common } = {
    ...(isRequest ? partsOf(input) : {}),
    ...given
  }
  const base: string | undefined = globalThis.location?.href
  const url = new URL(isRequest ? input.url : String(input), base).href
  return {
    first: { url, method: methodOf(method), headers: new Headers(headers), body },
    common,
    redirect,
    signal: signal ?? undefined
  }
}

/** What is rejected with as it is: by fetch, or in its place. */
class Rejection extends Data.TaggedClass("Rejection")<{ readonly reason: unknown }> {}

const rejected = (problem: string) => Effect.fail(new Rejection({ reason: new TypeError(problem) }))

/** The answer to one hop. */
interface Arrived {
  readonly response: Response
  readonly hasRenewed: boolean
  /** Where the token may go, if it says so. */
  readonly allowedOrigins: ReadonlyArray<string> | undefined
}

const bodyOf = (body: Redirects.Hop["body"]): HttpBody.HttpBody =>
  body == null ? HttpBody.empty : body instanceof FormData ? HttpBody.formData(body) : HttpBody.raw(body)

/** The 401 that is returned after another token was looked for in vain: its body has been read. */
const reread = (native: Response, response: HttpClientResponse.HttpClientResponse) =>
  Effect.map(Effect.orElseSucceed(response.arrayBuffer, () => new ArrayBuffer(0)), (body) => {
    const headers = new Headers(native.headers)
    headers.delete("content-encoding")
    headers.delete("content-length")
    const { status, statusText, url } = native
    const again = new Response(body.byteLength === 0 ? null : body, { status, statusText, headers })
    return Object.defineProperty(again, "url", { value: url })
  })

/** Gives way to what comes next, so that its connection is free again. */
const discard = (response: Response): Effect.Effect<void> =>
  Effect.ignore(Effect.tryPromise(async () => response.body?.cancel()))

/** @internal */
export const fetchWith = <E, R>(
  retriever: TokenRetriever<E, R>,
  runtime: Runtime.Runtime<R>,
  settings: Settings
) => {
  const refusalOf = policy(settings)
  const notHealing = { ...settings, retryUnauthorized: false as const }

  const send = (hop: Redirects.Hop, { common, signal }: Opened, signed: PlatformHeaders.Headers) => {
    const headers = new Headers(hop.headers)
    for (const name of ["authorization", "dpop"]) {
      const value = signed[name]
      if (value !== undefined) headers.set(name, value)
    }
    const isStream = hop.body != null && !isReplayable(bodyOf(hop.body))
    const { fetch = globalThis.fetch } = settings
    return fetch(hop.url, {
      ...common,
      method: hop.method,
      headers,
      body: hop.body ?? null,
      redirect: "manual",
      signal: signal ?? null,
      ...(isStream ? { duplex: "half" } : {})
    })
  }

  /** One hop with a token, and whether it took another one. */
  const authorized = (
    hop: Redirects.Hop,
    opened: Opened,
    heals: boolean
  ): Effect.Effect<Arrived, E | AccessTokenHttpClient.SendError | Rejection, R> =>
    Effect.suspend(() => {
      const used = new Set<string | undefined>()
      let allowedOrigins: ReadonlyArray<string> | undefined
      let native: Response | undefined
      let thrown: unknown
      const noting: TokenRetriever<E, R> = (request) =>
        Effect.tap(retriever(request), (token) => {
          allowedOrigins = token.allowedOrigins
        })
      const withToken = AccessTokenHttpClient.make(noting, heals ? settings : notHealing)
      const transport = HttpClient.make((attempt) => {
        used.add(attempt.headers["authorization"])
        return Effect.tryPromise({
          try: () => send(hop, opened, attempt.headers),
          catch: (cause) => {
            thrown = cause
            return new HttpClientError.RequestError({ request: attempt, reason: "Transport" })
          }
        }).pipe(Effect.map((response) => {
          native = response
          // Some transports say 0 of an answer that they hide.
          const { headers, status } = response
          return status === 0
            ? HttpClientResponse.fromWeb(attempt, new Response(null, { status: 302, headers }))
            : HttpClientResponse.fromWeb(attempt, response)
        }))
      })
      const request = HttpClientRequest.make(hop.method as HttpMethod)(hop.url, {
        headers: PlatformHeaders.fromInput(hop.headers),
        body: bodyOf(hop.body)
      })
      return withToken(transport).execute(request).pipe(
        Effect.mapError((error) =>
          HttpClientError.isHttpClientError(error)
            ? new Rejection({ reason: thrown ?? error })
            : error
        ),
        Effect.flatMap((response) =>
          native === undefined
            ? Effect.die(new TypeError("fetch gave no answer"))
            : native.bodyUsed
            ? reread(native, response)
            : Effect.succeed(native)
        ),
        Effect.map((response) => ({ response, hasRenewed: used.size > 1, allowedOrigins }))
      )
    })

  const bare = (hop: Redirects.Hop, opened: Opened): Effect.Effect<Arrived, Rejection> =>
    Effect.tryPromise({
      try: () => send(hop, opened, PlatformHeaders.empty),
      catch: (reason) => new Rejection({ reason })
    }).pipe(Effect.map((response) => ({ response, hasRenewed: false, allowedOrigins: undefined })))

  const call = (opened: Opened): Effect.Effect<Response, E | AccessTokenHttpClient.SendError | Rejection, R> =>
    Effect.gen(function*() {
      const home = originOf(opened.first.url)
      let hop = opened.first
      let isAway = false
      let mayHeal = true
      let allowedOrigins: ReadonlyArray<string> | undefined
      for (let redirects = 0;; redirects++) {
        const arrived: Arrived = yield* isAway ? bare(hop, opened) : authorized(hop, opened, mayHeal)
        const { hasRenewed, response } = arrived
        allowedOrigins ??= arrived.allowedOrigins
        if (opened.redirect === "manual" || !Redirects.isRedirect(response)) {
          return redirects === 0 ? response : Object.defineProperty(response, "redirected", { value: true })
        }
        yield* discard(response)
        if (opened.redirect === "error") return yield* rejected("a redirect was not wanted")
        if (redirects === Redirects.limit) return yield* rejected("there are too many redirects")
        const next = Redirects.nextHop(hop, response, isReplayable(bodyOf(hop.body)))
        if (typeof next === "string") return yield* rejected(next)
        const refused = settings.allowedOrigins === undefined
          ? beyond(allowedOrigins, next.url)
          : refusalOf(next.url)
        if (refused !== undefined) return yield* refused
        hop = next
        mayHeal &&= !hasRenewed
        // There is no way back from there.
        isAway ||= originOf(hop.url) !== home
      }
    })

  return async (input: Input, init?: RequestInit): Promise<Response> => {
    const opened = open(input, init)
    opened.signal?.throwIfAborted()
    const exit = await Runtime.runPromiseExit(runtime)(
      call(opened),
      opened.signal === undefined ? {} : { signal: opened.signal }
    )
    if (Exit.isSuccess(exit)) return exit.value
    if (Cause.isInterrupted(exit.cause)) opened.signal?.throwIfAborted()
    const error = Cause.squash(exit.cause)
    throw error instanceof Rejection ? error.reason : error
  }
}
