/**
 * A login on another device (RFC 8628): what is asked for, and the codes that come back.
 */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { TokenClient } from "../../TokenClient.ts"
import type { DeviceAuthorization } from "../../TokenEndpoint.ts"
import { resources, type TokenRequestParameters, valuesOf } from "../../TokenRequestParameters.ts"
import type { Answer } from "./exchange.ts"
import type { Form } from "./serverCall.ts"
import { type From, jsonObject, lifetime, refusal } from "./tokenResponse.ts"

/** @internal RFC 8628 section 3.1. */
export const formOf = (client: TokenClient, parameters: TokenRequestParameters): Form => {
  const { resource = client.resource, scope = client.scope } = parameters
  const extras = Object.entries({ ...client.parameters, ...parameters.parameters })
  return [
    ...extras.flatMap(([name, value]) => valuesOf(value).map((item) => [name, item] as const)),
    ["client_id", client.clientId],
    ...(scope === undefined ? [] : [["scope", scope] as const]),
    ...resources(resource).map((item) => ["resource", item] as const)
  ]
}

/** An address that a person is sent to. */
const isAddress = (value: unknown): value is string =>
  typeof value === "string" && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)

const isText = (value: unknown): value is string => typeof value === "string" && /^[\x20-\x7e]{1,1024}$/.test(value)

/** RFC 8628 section 3.2. */
const usual = { lifetime: Duration.minutes(10), interval: Duration.seconds(5) }

/** @internal */
export const read = (answer: Answer, from: From): DeviceAuthorization | ReturnType<typeof refusal> => {
  const json = jsonObject(answer.body)
  if (answer.status !== 200 || !Predicate.isReadonlyRecord(json)) return refusal(answer, json, from)
  // Some servers write url for uri.
  const { device_code: deviceCode, user_code: userCode, verification_uri: uri = json.verification_url } = json
  if (!isText(deviceCode) || !isText(userCode) || !isAddress(uri)) return refusal(answer, json, from)
  const complete = json.verification_uri_complete
  return {
    deviceCode: Redacted.make(deviceCode),
    userCode,
    verificationUri: uri,
    verificationUriComplete: isAddress(complete) ? complete : undefined,
    expiresIn: lifetime(json.expires_in, usual.lifetime),
    interval: lifetime(json.interval, usual.interval)
  }
}
