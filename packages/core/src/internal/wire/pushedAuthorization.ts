/**
 * An authorization request that is pushed to the server (RFC 9126), and what comes back for it.
 */
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { TokenClient } from "../../TokenClient.ts"
import type { PushedAuthorization } from "../../TokenEndpoint.ts"
import { type ParameterValue, valuesOf } from "../../TokenRequestParameters.ts"
import type { Answer } from "./exchange.ts"
import type { Form } from "./serverCall.ts"
import { type From, jsonObject, lifetime, refusal } from "./tokenResponse.ts"

/** What names and proves a client, which is nobody else's to say. */
const credentials: ReadonlySet<string> = new Set([
  "client_id",
  "client_secret",
  "client_assertion",
  "client_assertion_type"
])

/** What belongs to one user's login, or may hold it. */
const sensitive: ReadonlySet<string> = new Set([
  "state",
  "nonce",
  "code_challenge",
  "request",
  "id_token_hint",
  "login_hint",
  "login_hint_token",
  "claims",
  "authorization_details"
])

/** @internal Every way to prove a client needs `client_id` here (RFC 9126 section 2.1). */
export const formOf = ({ clientId }: TokenClient, form: Readonly<Record<string, ParameterValue>>): Form => [
  ...Object.entries(form).flatMap(([name, value]) =>
    credentials.has(name) ? [] : valuesOf(value).map((item) => [name, item] as const)
  ),
  ["client_id", clientId]
]

/** @internal What the server must not be quoted with. */
export const secretsOf = (form: Readonly<Record<string, ParameterValue>>): ReadonlyArray<string> =>
  Object.entries(form).flatMap(([name, value]) =>
    Redacted.isRedacted(value) || sensitive.has(name) ? valuesOf(value) : []
  )

/** RFC 9126 section 2.2 expects 5 to 600 seconds, and a server to say which. */
const usual = Duration.minutes(1)

const isUri = (value: unknown): value is string => typeof value === "string" && /^[\x21-\x7e]{1,4096}$/.test(value)

/** @internal */
export const read = (answer: Answer, from: From): PushedAuthorization | ReturnType<typeof refusal> => {
  const json = jsonObject(answer.body)
  if ((answer.status !== 201 && answer.status !== 200) || typeof json === "string" || !isUri(json.request_uri)) {
    return refusal(answer, json, from)
  }
  return { requestUri: json.request_uri, expiresIn: lifetime(json.expires_in, usual) }
}
