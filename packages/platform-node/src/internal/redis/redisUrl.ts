/**
 * The URL of a Redis, as options of ioredis. Its own reading throws errors that hold the URL, with the password.
 */
import * as Effect from "effect/Effect"
import type { RedisOptions } from "ioredis"

const expected = "expected redis://user:password@host:port/database, or rediss:// for TLS, percent-encoded"

const read = (text: string): RedisOptions | string => {
  const url = new URL(text)
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") return `the url has another scheme, ${expected}`
  if (url.search !== "" || url.hash !== "") return "the url has a query or a fragment, use `client` for what they say"
  if (!/^(\/\d*)?$/.test(url.pathname)) return `the url has a path that is not the number of a database, ${expected}`
  const database = Number(url.pathname.slice(1))
  return {
    host: decodeURIComponent(url.hostname.replace(/^\[(.*)\]$/, "$1")) || "localhost",
    port: url.port === "" ? 6379 : Number(url.port),
    db: database,
    ...url.username === "" ? {} : { username: decodeURIComponent(url.username) },
    ...url.password === "" ? {} : { password: decodeURIComponent(url.password) },
    ...url.protocol === "rediss:" ? { tls: {} } : {}
  }
}

/** @internal Fails with a text that shows nothing of it. */
export const parse = (text: string): Effect.Effect<RedisOptions, string> =>
  Effect.try({ try: () => read(text), catch: () => `the url cannot be read, ${expected}` }).pipe(
    Effect.flatMap((options) => typeof options === "string" ? Effect.fail(options) : Effect.succeed(options))
  )
