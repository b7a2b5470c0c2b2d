/**
 * What one attempt of one request carries to prove its client.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as jose from "jose"
import type { ClientAssertion, ClientAssertions } from "../../ClientAssertions.ts"
import type { AssertionSettings, ClientAuthentication } from "../../ClientAuthentication.ts"
import { CredentialUnavailable } from "../../OAuthError.ts"
import type { Sign, Signer } from "../../Signer.ts"
import type { SigningKey } from "../../SigningKey.ts"
import type { TokenClient } from "../../TokenClient.ts"
import type { TokenRequestParameters } from "../../TokenRequestParameters.ts"
import { currentTimeMillis } from "../clock.ts"
import { formEncode } from "./formEncode.ts"

/** @internal */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>
  readonly form: Readonly<Record<string, string>>
}

/** @internal */
export interface Attempt {
  readonly client: TokenClient
  readonly parameters: TokenRequestParameters
  /** Whom a signed assertion is for; `undefined` where the client makes none. */
  readonly audience: string | undefined
  /** What to add to our time for the server's, in milliseconds. */
  readonly clockOffset: number
}

/** @internal */
export interface CredentialSource {
  readonly credentials: (attempt: Attempt) => Effect.Effect<Credentials, CredentialUnavailable>
}

const basic = (id: string, secret: string): string => `Basic ${Encoding.encodeBase64(`${id}:${secret}`)}`

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

/** The media type that keeps an assertion from being taken for another kind of JWT (RFC 8725 section 3.11). */
const type = "client-authentication+jwt"

const byAssertion = ({ clientId }: TokenClient, assertion: ClientAssertion): Credentials => ({
  headers: {},
  form: {
    client_id: clientId,
    client_assertion_type: assertion.type ?? jwtBearer,
    client_assertion: Redacted.value(assertion.value)
  }
})

/** @internal Whom the assertions of a client are for: a name of the server, or a value as it is. */
export const audienceOf = ({ authentication, issuer }: TokenClient): string | undefined =>
  authentication._tag === "PrivateKeyJwt" || authentication._tag === "ClientSecretJwt"
    ? authentication.audience ?? (issuer === undefined ? "tokenEndpoint" : "issuer")
    : undefined

/** @internal The secrets that an answer of the server must not be quoted with. */
export const secretsOf = (authentication: ClientAuthentication): ReadonlyArray<string> =>
  "secret" in authentication ? [Redacted.value(authentication.secret)] : []

/** @internal */
export const make = (
  signer: Signer["Type"],
  assertions: Option.Option<ClientAssertions["Type"]>
): CredentialSource => {
  const signing = new WeakMap<SigningKey, Sign>()

  const signOf = (key: SigningKey): Sign => {
    const known = signing.get(key)
    if (known !== undefined) return known
    const sign = signer.signing(key, key.keyId === undefined ? { typ: type } : { typ: type, kid: key.keyId })
    signing.set(key, sign)
    return sign
  }

  /** RFC 7523 section 3. */
  const claimsOf = ({ audience, client: { clientId }, clockOffset }: Attempt, { lifetime }: AssertionSettings) =>
    Effect.withFiberRuntime<jose.JWTPayload>((fiber) => {
      const iat = Math.floor((currentTimeMillis(fiber) + clockOffset) / 1000)
      const exp = iat + Math.ceil(Duration.toSeconds(lifetime))
      return Effect.succeed({ iss: clientId, sub: clientId, aud: audience!, jti: signer.random(16), iat, exp })
    })

  const signed = (
    attempt: Attempt,
    settings: AssertionSettings,
    sign: (claims: jose.JWTPayload) => Effect.Effect<string, CredentialUnavailable>
  ) =>
    Effect.map(
      Effect.flatMap(claimsOf(attempt, settings), sign),
      (jwt) => byAssertion(attempt.client, { value: Redacted.make(jwt) })
    )

  const own = (attempt: Attempt): Effect.Effect<Credentials, CredentialUnavailable> => {
    const { authentication, clientId, name: clientName } = attempt.client
    const unavailable = (problem: string) => new CredentialUnavailable({ clientName, credential: "assertion", problem })
    switch (authentication._tag) {
      case "ClientSecretBasic": {
        const encode = authentication.encoding === "form" ? formEncode : (value: string) => value
        const secret = encode(Redacted.value(authentication.secret))
        return Effect.succeed({ headers: { authorization: basic(encode(clientId), secret) }, form: {} })
      }
      case "ClientSecretPost":
        return Effect.succeed({
          headers: {},
          form: { client_id: clientId, client_secret: Redacted.value(authentication.secret) }
        })
      case "ClientSecretJwt": {
        const secret = new TextEncoder().encode(Redacted.value(authentication.secret))
        return signed(attempt, authentication, (claims) =>
          Effect.tryPromise({
            try: () =>
              new jose.SignJWT(claims).setProtectedHeader({ alg: authentication.algorithm, typ: type }).sign(secret),
            catch: () => unavailable("the secret could not sign")
          }))
      }
      case "PrivateKeyJwt":
        return signed(attempt, authentication, (claims) =>
          Effect.mapError(
            signOf(authentication.key)(JSON.stringify(claims)),
            ({ message }) => unavailable(message)
          ))
      case "TlsClientAuth":
      case "None":
        return Effect.succeed({ headers: {}, form: { client_id: clientId } })
    }
  }

  return {
    credentials: (attempt) => {
      const { client, parameters } = attempt
      if (parameters.assertion !== undefined) return Effect.succeed(byAssertion(client, parameters.assertion))
      return Option.match(assertions, {
        onNone: () => own(attempt),
        onSome: (service) =>
          Effect.flatMap(
            service.get(client.name, parameters),
            Option.match({
              onNone: () => own(attempt),
              onSome: (assertion) => Effect.succeed(byAssertion(client, assertion))
            })
          )
      })
    }
  }
}
