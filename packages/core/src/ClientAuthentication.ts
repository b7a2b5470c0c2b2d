/**
 * How a client proves to the authorization server who it is (RFC 6749 section 2.3). A value says which method is used and
 * holds what it needs; `credentials` turns it into what one request carries and is run anew for every attempt, so that a
 * method whose proof may be used only once fits in.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Redacted from "effect/Redacted"
import { formEncode } from "./internal/formEncode.ts"
import type * as OAuthValues from "./OAuthValues.ts"

/**
 * - `ClientSecretBasic`: id and secret in the `Authorization` header, `form`-encoded before base64 as RFC 6749 section
 *   2.3.1 wants it, or `raw` for servers that take them as RFC 7617 does.
 * - `ClientSecretPost`: id and secret in the body.
 * - `None`: a public client, only its id in the body.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientAuthentication = Data.TaggedEnum<{
  ClientSecretBasic: { readonly secret: OAuthValues.ClientSecret; readonly encoding: "form" | "raw" }
  ClientSecretPost: { readonly secret: OAuthValues.ClientSecret }

  None: {}
}>

/**
 * The names that the methods have in server metadata (RFC 8414 section 2, `token_endpoint_auth_methods_supported`).
 *
 * @since 0.1.0
 * @category models
 */
export type Method = "client_secret_basic" | "client_secret_post" | "none"

const { $match, ClientSecretBasic, ClientSecretPost, None } = Data.taggedEnum<ClientAuthentication>()

/**
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretBasic = (
  secret: OAuthValues.ClientSecret,
  options?: { readonly encoding?: "form" | "raw" | undefined }
): ClientAuthentication => ClientSecretBasic({ secret, encoding: options?.encoding ?? "form" })

/**
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretPost = (secret: OAuthValues.ClientSecret): ClientAuthentication => ClientSecretPost({ secret })

/**
 * @since 0.1.0
 * @category constructors
 */
export const none: ClientAuthentication = None()

/**
 * What one request carries to prove its client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>
  readonly form: Readonly<Record<string, string>>
}

const basic = (id: string, secret: string): string => `Basic ${Encoding.encodeBase64(`${id}:${secret}`)}`

/**
 * The credentials of one attempt of one request.
 *
 * @since 0.1.0
 * @category combinators
 */
export const credentials = (
  authentication: ClientAuthentication,
  clientId: OAuthValues.ClientId
): Effect.Effect<Credentials> =>
  Effect.sync(() =>
    $match(authentication, {
      ClientSecretBasic: ({ encoding, secret }): Credentials => {
        const encode = encoding === "form" ? formEncode : (value: string) => value
        return { headers: { authorization: basic(encode(clientId), encode(Redacted.value(secret))) }, form: {} }
      },
      ClientSecretPost: ({ secret }): Credentials => ({
        headers: {},
        form: { client_id: clientId, client_secret: Redacted.value(secret) }
      }),
      None: (): Credentials => ({ headers: {}, form: { client_id: clientId } })
    })
  )

/** @internal The secrets that an answer of the server must not be quoted with. */
export const secrets = (authentication: ClientAuthentication): ReadonlyArray<string> =>
  authentication._tag === "None" ? [] : [Redacted.value(authentication.secret)]
