/**
 * Which proxy leads to a server. The URL of a proxy may hold a password, so no problem quotes it.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** @internal */
export type Setting = "environment" | URL | string | Redacted.Redacted<string> | false

/** @internal Texts of URLs. */
export type Proxy =
  | { readonly _tag: "None" }
  | { readonly _tag: "Fixed"; readonly url: string }
  | { readonly _tag: "ByScheme"; readonly http: string; readonly https: string; readonly exceptions: string }

/** @internal */
export interface ProxyProblem {
  /** The variable, or "proxy" for the option. */
  readonly source: string
  readonly problem: string
}

const expected = "expected the http: or https: URL of a proxy"

const parse = (source: string, text: string): Either.Either<string, ProxyProblem> => {
  const fail = (found: string) => Either.left({ source, problem: `found ${found}, ${expected}` })
  // "proxy.example:3128" is what many write
  const full = text.includes("://") ? text : `http://${text}`
  if (!URL.canParse(full)) return fail("no URL")
  const url = new URL(full)
  if (url.protocol !== "http:" && url.protocol !== "https:") return fail("a URL of another scheme")
  return Either.try({
    try: () => {
      decodeURIComponent(url.username + url.password)
      return url.href
    },
    catch: () => ({ source, problem: `found a user name or password that is not percent-encoded, ${expected}` })
  })
}

interface Variable {
  readonly name: string
  readonly value: string
}

/** A variable that is set to nothing is one that is not set, in lower case as in upper case. */
const readVariable = (name: string): Effect.Effect<Variable | undefined> =>
  Effect.map(
    Effect.forEach([name.toLowerCase(), name], (name) =>
      Effect.map(
        Effect.option(Config.string(name)),
        Option.match({
          onNone: () => undefined,
          onSome: (value) => value.trim() === "" ? undefined : { name, value: value.trim() }
        })
      )),
    ([lower, upper]) => lower ?? upper
  )

const parseVariable = (variable: Variable | undefined): Either.Either<string, ProxyProblem> =>
  variable === undefined ? Either.right("") : parse(variable.name, variable.value)

const fromEnvironment: Effect.Effect<Proxy, ProxyProblem> = Effect.gen(function*() {
  const http = yield* parseVariable(yield* readVariable("HTTP_PROXY"))
  const https = yield* parseVariable(yield* readVariable("HTTPS_PROXY"))
  if (http === "" && https === "") return { _tag: "None" }
  const exceptions = yield* readVariable("NO_PROXY")
  return { _tag: "ByScheme", http, https, exceptions: exceptions?.value ?? "" }
})

/** @internal */
export const resolve = (setting: Setting = "environment"): Effect.Effect<Proxy, ProxyProblem> => {
  if (setting === false) return Effect.succeed({ _tag: "None" })
  if (setting === "environment") return fromEnvironment
  const text = Redacted.isRedacted(setting) ? Redacted.value(setting) : setting
  return Either.map(parse("proxy", String(text)), (url): Proxy => ({ _tag: "Fixed", url }))
}
