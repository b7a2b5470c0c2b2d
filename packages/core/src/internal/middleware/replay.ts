/**
 * Which bodies can be sent a second time, and what becomes of an answer that gives way to another.
 */
import type * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

const replayable = new WeakSet<HttpBody.Stream>()

/** @internal */
export const markReplayable = (body: HttpBody.Stream): HttpBody.Stream => {
  replayable.add(body)
  return body
}

/** @internal */
export const isReplayable = (body: HttpBody.HttpBody): boolean => {
  switch (body._tag) {
    case "Empty":
    case "Uint8Array":
    case "FormData":
      return true
    case "Stream":
      return replayable.has(body)
    case "Raw":
      return typeof body.body === "string" || ArrayBuffer.isView(body.body) || body.body instanceof ArrayBuffer ||
        body.body instanceof URLSearchParams || body.body instanceof Blob
  }
}

const limit = 64 * 1024

/**
 * @internal Reads up to 64 KiB of an answer and lets go of the rest, so that its connection is free again, and gives the
 * answer anew with what was read.
 */
export const drained = (
  response: HttpClientResponse.HttpClientResponse
): Effect.Effect<HttpClientResponse.HttpClientResponse> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  return response.stream.pipe(
    Stream.takeUntil((chunk) => {
      chunks.push(chunk)
      size += chunk.byteLength
      return size >= limit
    }),
    Stream.runDrain,
    Effect.timeoutOption("1 second"),
    Effect.ignore,
    // The runtime would log the failure of a helper fiber, which prints the request.
    Effect.withUnhandledErrorLogLevel(Option.none()),
    Effect.map(() => {
      const { "content-encoding": _, "content-length": __, ...headers } = response.headers
      const body = chunks.length === 0 ? null : new Blob(chunks as Array<Uint8Array<ArrayBuffer>>)
      return HttpClientResponse.fromWeb(response.request, new Response(body, { status: response.status, headers }))
    })
  )
}
