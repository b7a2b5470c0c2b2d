/**
 * What one request for a token may ask for beyond the definition of its client.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as AuthorizationDetails from "./AuthorizationDetails.ts"
import type { ClientAssertion } from "./ClientAssertions.ts"
import { found, parseField } from "./internal/problem.ts"
import { TokenRequestInvalid } from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import * as TokenGrant from "./TokenGrant.ts"

/**
 * The value of an extra form parameter: once, several times, or a secret.
 *
 * @since 0.1.0
 * @category models
 */
export type ParameterValue = string | ReadonlyArray<string> | Redacted.Redacted<string>

/**
 * - `forceRenewal`: skip what is cached, acquire a new token (and cache it).
 * - `scope` (RFC 6749 section 3.3), `resource` (RFC 8707), `parameters` (extra form fields): instead of the client's own;
 *   `parameters` are added to the client's, the same name replaces.
 * - `authorizationDetails`: what exactly is asked for (RFC 9396), instead of the client's own parameter of that name. Part of the
 *   cache key.
 * - `assertion`: proves the client in this request, whatever its definition and `ClientAssertions` say. It is sent as it
 *   is with every attempt, and is no part of the cache key.
 * - `grant`: what is exchanged for the token, in place of the client's own authority: a user's token, for instance (see
 *   `TokenGrant.tokenExchange`). Part of the cache key. What can be used once only is refused.
 * - `partition`: keeps tokens apart, a tenant for instance. Part of the cache key, never sent.
 * - `context`: for `TokenRequestCustomizer` and `ClientAssertions`. Neither sent nor part of the key: what depends on it must set `partition`.
 *
 * An object that is used for more than one request is the cheapest, since it is remembered by identity; it is frozen then,
 * because a change to it later could not be seen any more.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenRequestParameters {
  readonly forceRenewal?: boolean | undefined
  readonly scope?: string | undefined
  readonly resource?: string | ReadonlyArray<string> | undefined
  readonly parameters?: Readonly<Record<string, ParameterValue>> | undefined
  readonly authorizationDetails?: ReadonlyArray<AuthorizationDetails.AuthorizationDetail> | undefined
  readonly assertion?: ClientAssertion | undefined
  readonly grant?: TokenGrant.TokenGrant | undefined
  readonly partition?: string | undefined
  readonly context?: unknown
}

/** Fields of the protocol itself, which no extra parameter may override. */
const reserved: ReadonlySet<string> = new Set([
  "grant_type",
  "scope",
  "resource",
  "client_id",
  "client_secret",
  "client_assertion",
  "client_assertion_type",
  "token",
  "token_type_hint"
])

interface Problem {
  readonly field: string
  readonly problem: string
}

const isRedactedText = (value: unknown): value is Redacted.Redacted<string> =>
  Redacted.isRedacted(value) && typeof Redacted.value(value) === "string"

const isParameterValue = (value: unknown): value is ParameterValue =>
  typeof value === "string" || isRedactedText(value) ||
  (Array.isArray(value) && value.every((item) => typeof item === "string"))

const aParameterValue = "expected a string, an array of strings or a Redacted<string>"

/** @internal The first thing wrong with extra parameters, as a field name and a sentence. */
export const parametersProblem = (parameters: unknown): Problem | undefined => {
  if (!Predicate.isReadonlyRecord(parameters)) {
    return { field: "parameters", problem: found("expected an object", parameters) }
  }
  for (const [name, value] of Object.entries(parameters)) {
    const field = `parameters.${name}`
    if (reserved.has(name)) {
      return { field, problem: `"${name}" belongs to the protocol: use the field of that name where there is one` }
    }
    if (!isParameterValue(value)) return { field, problem: found(aParameterValue, value) }
  }
  return undefined
}

/** A secret that came as a string would be quoted by the errors of a server that quotes it. */
const secretFields: ReadonlySet<string> = new Set([
  "code",
  "code_verifier",
  "refresh_token",
  "subject_token",
  "actor_token",
  "assertion",
  "device_code"
])

/** @internal What is wrong with a grant, where no compiler has looked. */
export const grantProblem = (grant: unknown): Problem | undefined => {
  if (!TokenGrant.isGrant(grant)) return { field: "grant", problem: found("expected a TokenGrant", grant) }
  if (grant._tag === "Extension") {
    if (typeof grant.grantType !== "string" || !URL.canParse(grant.grantType)) {
      return { field: "grantType", problem: "expected an absolute URI (RFC 6749 section 4.5)" }
    }
    if (!Predicate.isReadonlyRecord(grant.parameters)) {
      return { field: "grant.parameters", problem: found("expected an object", grant.parameters) }
    }
  }
  for (const [name, value] of Object.entries(TokenGrant.fieldsOf(grant))) {
    const field = `grant.${name}`
    if (grant._tag !== "Extension" && secretFields.has(name) && !isRedactedText(value)) {
      return { field, problem: found("expected a Redacted<string>", value) }
    }
    if (!isParameterValue(value)) return { field, problem: found(aParameterValue, value) }
  }
  return undefined
}

/** @internal */
export const valuesOf = (value: ParameterValue): ReadonlyArray<string> =>
  Redacted.isRedacted(value) ? [Redacted.value(value)] : typeof value === "string" ? [value] : value

/** @internal */
export const secretsOf = (parameters: Readonly<Record<string, ParameterValue>>): ReadonlyArray<string> =>
  Object.values(parameters).flatMap((value) => Redacted.isRedacted(value) ? [Redacted.value(value)] : [])

/** @internal */
export const resources = (resource: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  resource === undefined ? [] : typeof resource === "string" ? [resource] : resource

/** @internal Extra form fields: those of the client, and of the request, which win. */
export const extrasOf = (
  own: Readonly<Record<string, ParameterValue>>,
  { authorizationDetails, parameters }: TokenRequestParameters
): Readonly<Record<string, ParameterValue>> => {
  const details = authorizationDetails === undefined ? undefined : AuthorizationDetails.encode(authorizationDetails)
  return { ...own, ...parameters, ...(details === undefined ? {} : { authorization_details: details }) }
}

/**
 * The first problem of what a request asks for, as `ClientCredentialsTokenManager` and `TokenEndpoint` find it; `undefined` if
 * there is none. For retrievers and managers of your own.
 *
 * @since 0.1.0
 * @category validation
 */
export const validate = (
  clientName: string,
  parameters: TokenRequestParameters
): TokenRequestInvalid | undefined => {
  const invalid = (field: string, problem: string) => new TokenRequestInvalid({ clientName, field, problem })
  // The guard is what a good value costs; its schema says what is wrong with a bad one.
  if (parameters.scope !== undefined && !OAuthValues.isScope(parameters.scope)) {
    const scope = parseField(OAuthValues.Scope, parameters.scope)
    if (Either.isLeft(scope)) return invalid("scope", scope.left)
  }
  const { resource } = parameters
  if (resource !== undefined && typeof resource !== "string" && !Array.isArray(resource)) {
    return invalid("resource", found("expected a string or an array of strings", resource))
  }
  for (const item of resources(resource)) {
    const resource = parseField(OAuthValues.Resource, item)
    if (Either.isLeft(resource)) return invalid("resource", resource.left)
  }
  if (parameters.authorizationDetails !== undefined) {
    const problem = AuthorizationDetails.problemOf(parameters.authorizationDetails)
    if (problem !== undefined) return invalid("authorizationDetails", problem)
    if (parameters.parameters?.authorization_details !== undefined) {
      return invalid("authorizationDetails", "it is among the parameters, too: say it once")
    }
  }
  if (parameters.partition !== undefined && typeof parameters.partition !== "string") {
    return invalid("partition", found("expected a string", parameters.partition))
  }
  if (parameters.assertion !== undefined) {
    if (!Predicate.isObject(parameters.assertion)) {
      return invalid("assertion", found("expected an object", parameters.assertion))
    }
    const { type, value } = parameters.assertion
    if (!Redacted.isRedacted(value) || typeof Redacted.value(value) !== "string") {
      return invalid("assertion.value", found("expected a Redacted<string>", value))
    }
    if (type !== undefined && typeof type !== "string") {
      return invalid("assertion.type", found("expected a string", type))
    }
  }
  if (parameters.grant !== undefined) {
    const problem = grantProblem(parameters.grant)
    if (problem !== undefined) return invalid(problem.field, problem.problem)
    if (!TokenGrant.isRepeatable(parameters.grant)) {
      return invalid("grant", "a grant that can be used once only gives no token to keep: use TokenEndpoint.request")
    }
  }
  const extra = parameters.parameters === undefined ? undefined : parametersProblem(parameters.parameters)
  return extra === undefined ? undefined : invalid(extra.field, extra.problem)
}

/** @internal Remembering an object by identity is only right if it stays what it was. */
export const freeze = (parameters: TokenRequestParameters): void => {
  Object.freeze(parameters)
  if (typeof parameters.resource === "object") Object.freeze(parameters.resource)
  AuthorizationDetails.freeze(parameters.authorizationDetails)
  const { grant, parameters: extra } = parameters
  freezeValues(extra)
  freezeValues(grant)
  if (Predicate.isRecord(grant) && "parameters" in grant) freezeValues(grant.parameters)
}

const freezeValues = (record: unknown): void => {
  if (!Predicate.isReadonlyRecord(record)) return
  for (const value of Object.values(record)) if (Array.isArray(value)) Object.freeze(value)
  Object.freeze(record)
}
