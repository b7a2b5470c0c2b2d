/**
 * What a user's token may be asked for with: only what it can be kept under.
 */
import { TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import { type TokenRequestParameters, validate } from "@effect-oauth/core/TokenRequestParameters"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import type { Parameters } from "../UserTokens.ts"

/** @internal The part that a refresh is made with. */
export interface UserParameters
  extends Omit<TokenRequestParameters, "forceRenewal" | "grant" | "authorizationDetails" | "parameters">
{
  readonly parameters?: Parameters | undefined
}

const unkept = {
  grant: "a user's token is obtained with the user's refresh token: to exchange it, use TokenRetriever.tokenExchange",
  authorizationDetails: "all that the user has allowed is in every token: ask for it at the login"
}

const copyOf = (value: string | ReadonlyArray<string>): string | ReadonlyArray<string> =>
  typeof value === "string" ? value : [...value]

/** A copy, since a refresh waits for others and what it was begun with must not change meanwhile. */
const extras = (
  clientName: string,
  parameters: NonNullable<TokenRequestParameters["parameters"]>
): Either.Either<Parameters, TokenRequestInvalid> => {
  const copy: Array<readonly [string, string | ReadonlyArray<string>]> = []
  for (const [name, value] of Object.entries(parameters)) {
    if (Redacted.isRedacted(value)) {
      return Either.left(
        new TokenRequestInvalid({
          clientName,
          field: `parameters.${name}`,
          problem: "a secret cannot be part of what a user's token is kept under: use a parameter of the client"
        })
      )
    }
    copy.push([name, copyOf(value)])
  }
  return Either.right(Object.fromEntries(copy))
}

/** @internal */
export const parse = (
  clientName: string,
  parameters: TokenRequestParameters
): Either.Either<UserParameters, TokenRequestInvalid> => {
  for (const field of ["grant", "authorizationDetails"] as const) {
    if (parameters[field] !== undefined) {
      return Either.left(new TokenRequestInvalid({ clientName, field, problem: unkept[field] }))
    }
  }
  const invalid = validate(clientName, parameters)
  if (invalid !== undefined) return Either.left(invalid)
  const { assertion, context, partition, resource, scope } = parameters
  const known = {
    assertion,
    context,
    partition,
    scope,
    resource: resource === undefined ? undefined : copyOf(resource)
  }
  return parameters.parameters === undefined
    ? Either.right(known)
    : Either.map(extras(clientName, parameters.parameters), (parameters) => ({ ...known, parameters }))
}
