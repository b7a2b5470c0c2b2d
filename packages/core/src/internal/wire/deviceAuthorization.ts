/**
 * A login on another device (RFC 8628): what is asked for, and the codes that come back.
 */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { TokenClient } from "../../TokenClient.ts"
import type { DeviceAuthorization } from "../../TokenEndpoint.ts"
import { extrasOf, resources, type TokenRequestParameters, valuesOf } from "../../TokenRequestParameters.ts"
import type { Answer } from "./exchange.ts"
import type { Form } from "./serverCall.ts"
import { type From, isSendable, jsonObject, lifetime, refusal } from "./tokenResponse.ts"

/** @internal RFC 8628 section 3.1. */
export const formOf = (client: TokenClient, parameters: TokenRequestParameters): Form => {
  const { resource = client.resource, scope = client.scope } = parameters
  const extras = Object.entries(extrasOf(client.parameters, parameters))
  return [
    ...extras.flatMap(([name, value]) => valuesOf(value).map((item) => [name, item] as const)),
    ["client_id", client.clientId],
    ...(scope === undefined ? [] : [["scope", scope] as const]),
    ...resources(resource).map((item) => ["resource", item] as const)
  ]
}

const longestAddress = 4096

/** An address that a person is sent to, written so that a terminal can show it. */
const addressOf = (value: unknown): string | undefined => {
  if (typeof value !== "string" || !URL.canParse(value)) return undefined
  const { href, protocol } = new URL(value)
  return /^https?:$/.test(protocol) && href.length <= longestAddress ? href : undefined
}

/** What a person can type, and a terminal show. */
const isUserCode = (value: unknown): value is string => typeof value === "string" && /^[\x20-\x7e]{1,256}$/.test(value)

/** RFC 8628 section 3.2. */
const usual = { lifetime: Duration.minutes(10), interval: Duration.seconds(5) }
const longest = Duration.days(1)

/** What is no number of seconds is not there: a server is never asked without a pause, and nobody waits for ever. */
const seconds = (value: unknown, usual: Duration.Duration): Duration.Duration => {
  const given = lifetime(value, usual)
  return Duration.min(Duration.toMillis(given) === 0 ? usual : given, longest)
}

/** @internal */
export const read = (answer: Answer, from: From): DeviceAuthorization | ReturnType<typeof refusal> => {
  const json = jsonObject(answer.body)
  if (answer.status !== 200 || !Predicate.isReadonlyRecord(json)) return refusal(answer, json, from)
  const { device_code: deviceCode, user_code: userCode } = json
  // Some servers write url for uri.
  const verificationUri = addressOf(json.verification_uri ?? json.verification_url)
  const isUsable = typeof deviceCode === "string" && isSendable(deviceCode) && isUserCode(userCode)
  if (!isUsable || verificationUri === undefined) return refusal(answer, json, from)
  return {
    deviceCode: Redacted.make(deviceCode),
    userCode,
    verificationUri,
    verificationUriComplete: addressOf(json.verification_uri_complete ?? json.verification_url_complete),
    expiresIn: seconds(json.expires_in, usual.lifetime),
    interval: seconds(json.interval, usual.interval)
  }
}
