/**
 * The way to authorization servers.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as OptionalServices from "./OptionalServices.ts"

/**
 * The `HttpClient` for all authorization servers, apart from the one for APIs: another proxy, another certificate, a retry
 * of its own. A client's own `httpClient` wins over it; without either, the `HttpClient` that is there when the Layer is
 * built is used, never the one of a caller, so a client that adds tokens cannot call itself.
 *
 * No redirect is followed on this way, so over fetch its `RequestInit` is replaced by one that says so: put options of fetch
 * into a `FetchHttpClient.Fetch` of your own instead.
 *
 * @since 0.1.0
 * @category tags
 */
export class Backchannel extends Context.Tag("@effect-oauth/core/Backchannel")<Backchannel, HttpClient.HttpClient>() {}

/**
 * The client for authorization servers that is there where this is run, so run it when a Layer is built: `Backchannel`, or
 * else the `HttpClient`. For packages that build on this one; a client's own `httpClient` still wins.
 *
 * @since 0.1.0
 * @category accessors
 */
export const backchannel: Effect.Effect<HttpClient.HttpClient, never, HttpClient.HttpClient> = Effect.flatMap(
  OptionalServices.get(Backchannel),
  Option.match({ onNone: () => HttpClient.HttpClient, onSome: Effect.succeed })
)
