/**
 * Token exchange at the authorization server (RFC 8693): a user's access token for another one, for the next API. The new one
 * names the user, and whoever acts for them; it ends with the old one, and is bound to a key if its request has a proof.
 */
import * as jose from "jose"
import type * as Library from "oidc-provider"
import type {
  AccessToken,
  ClientCredentials,
  JWKS,
  KoaContextWithOIDC,
  ResourceServerInstance,
  TokenEndpointGrantContext
} from "oidc-provider"
import type Provider from "oidc-provider"
import * as Grants from "oidc-provider/lib/helpers/grants.js"

export const grantType = "urn:ietf:params:oauth:grant-type:token-exchange"

const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
const jwtType = "urn:ietf:params:oauth:token-type:jwt"

/** Who acts, and for whom they acted in turn (RFC 8693 section 4.1). */
export interface Actor {
  readonly sub: string
  readonly act?: Actor
}

/** What is known of a token that was shown. */
export interface Shown {
  readonly sub: string
  readonly clientId: string | undefined
  readonly audiences: ReadonlyArray<string>
  /** In seconds since 1970. */
  readonly endsAt: number | undefined
  readonly act: Actor | undefined
}

export interface Exchange {
  readonly clientId: string
  readonly subject: Shown
  readonly actor: Shown | undefined
  /** The address of the API that the new token is for. */
  readonly target: string
}

export interface TokenExchange {
  /** Names of APIs, for the parameter "audience", and their addresses. Those are found by "resource" too. */
  readonly audiences?: ((name: string) => string | undefined) | undefined
  /** Default: every client that has the grant may exchange every user's token. */
  readonly isAllowed?: ((exchange: Exchange) => boolean) | undefined
}

type Parameters =
  & Readonly<
    Record<
      | "subject_token"
      | "subject_token_type"
      | "actor_token"
      | "actor_token_type"
      | "requested_token_type",
      string | undefined
    >
  >
  & { readonly audience?: string | Array<string>; readonly resource?: string | Array<string> }

const parameters = [
  "subject_token",
  "subject_token_type",
  "actor_token",
  "actor_token_type",
  "requested_token_type",
  "audience",
  "resource",
  "scope"
]

const secretParts: ReadonlySet<string> = new Set(["d", "p", "q", "dp", "dq", "qi", "oth"])

const publicKeys = ({ keys }: JWKS): jose.JSONWebKeySet => ({
  keys: keys.map((key) =>
    Object.fromEntries(Object.entries(key).filter(([part]) => !secretParts.has(part))) as unknown as jose.JWK
  )
})

const listOf = (value: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  value === undefined ? [] : typeof value === "string" ? [value] : value

const isActor = (value: unknown): value is Actor =>
  typeof value === "object" && value !== null && "sub" in value && typeof value.sub === "string"

/** Who acts is written down while a token is made. */
const acting = new WeakMap<AccessToken | ClientCredentials, Actor>()

/** For the configuration of the provider. */
export const extraTokenClaims = (_: KoaContextWithOIDC, token: AccessToken | ClientCredentials) => {
  const act = acting.get(token)
  return act === undefined ? undefined : { act }
}

/** Tokens of this server: those that it keeps, and those that it has signed. */
const reader = (provider: Provider, jwks: JWKS) => {
  const keys = jose.createLocalJWKSet(publicKeys(jwks))

  const kept = async (token: string): Promise<Shown | undefined> => {
    const found = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token)
    if (found?.isValid !== true) return undefined
    const { aud, clientId, exp, extra } = found
    const sub = found.kind === "AccessToken" ? found.accountId : clientId
    if (sub === undefined) return undefined
    return { sub, clientId, audiences: listOf(aud), endsAt: exp, act: isActor(extra?.act) ? extra.act : undefined }
  }

  const signed = async (token: string): Promise<Shown | undefined> => {
    const expected = { issuer: provider.issuer, typ: "at+jwt" }
    const verified = await jose.jwtVerify(token, keys, expected).catch(() => undefined)
    if (verified?.payload.sub === undefined) return undefined
    const { act, aud, client_id: clientId, exp, sub } = verified.payload
    return {
      sub,
      clientId: typeof clientId === "string" ? clientId : undefined,
      audiences: listOf(aud),
      endsAt: exp,
      act: isActor(act) ? act : undefined
    }
  }

  return (token: string): Promise<Shown | undefined> => token.split(".").length === 3 ? signed(token) : kept(token)
}

/** In seconds, if it ends at all. */
const left = ({ endsAt }: Shown): ReadonlyArray<number> =>
  endsAt === undefined ? [] : [Math.max(1, endsAt - Math.floor(Date.now() / 1000))]

/** `lifetime` of the new tokens, at most, in seconds. */
export const register = (
  { errors }: Pick<typeof Library, "errors">,
  provider: Provider,
  options: TokenExchange & { readonly jwks: JWKS; readonly lifetime: number }
): void => {
  const { InvalidRequest, InvalidTarget } = errors
  const read = reader(provider, options.jwks)

  const shown = async (whose: "subject" | "actor", token: string, type: string | undefined): Promise<Shown> => {
    if (type !== accessTokenType && type !== jwtType) throw new InvalidRequest(`unsupported ${whose}_token_type`)
    const found = await read(token)
    if (found === undefined) throw new InvalidRequest(`the ${whose}_token is not valid`)
    return found
  }

  /** The API that it is for, found by its address as by its name. */
  const targetOf = async (ctx: TokenEndpointGrantContext<Parameters>): Promise<ResourceServerInstance> => {
    const { params } = ctx.oidc
    const named = listOf(params.audience).map((name) => {
      const address = options.audiences?.(name)
      if (address === undefined) throw new InvalidTarget("the audience is not known")
      return address
    })
    const [target, ...others] = new Set([...listOf(params.resource), ...named])
    if (target === undefined) throw new InvalidTarget("say by resource or audience which API it is for")
    if (others.length > 0) throw new InvalidTarget("one token is for one API here")
    Object.assign(params, { resource: target })
    const [server] = await Grants.resolveRequestedResources(provider, ctx)
    if (server === undefined) throw new InvalidTarget("there is no such API")
    return server
  }

  provider.registerGrantType<Parameters>(
    grantType,
    async (ctx) => {
      const { client, params } = ctx.oidc
      const { actor_token: actorToken, requested_token_type: requested, subject_token: subjectToken } = params
      if (subjectToken === undefined) throw new InvalidRequest("missing required parameter(s) subject_token")
      if (requested !== undefined && requested !== accessTokenType && requested !== jwtType) {
        throw new InvalidRequest("unsupported requested_token_type")
      }
      const proof = await Grants.validateDpop(provider, ctx)
      Grants.checkDpopRequired(provider, ctx, proof)
      const subject = await shown("subject", subjectToken, params.subject_token_type)
      if (subject.sub === subject.clientId) throw new InvalidRequest("the subject_token is no user's")
      const actor = actorToken === undefined ? undefined : await shown("actor", actorToken, params.actor_token_type)
      const resourceServer = await targetOf(ctx)
      const target = resourceServer.identifier()
      if (options.isAllowed?.({ clientId: client.clientId, subject, actor, target }) === false) {
        throw new InvalidRequest("this token is not yours to exchange")
      }

      const scope = [...Grants.validateClientScope(provider, ctx)].filter((one) => resourceServer.scopes.has(one)).join(
        " "
      )
      const grant = new provider.Grant({ accountId: subject.sub, clientId: client.clientId })
      if (scope !== "") grant.addResourceScope(target, scope)
      const token = new provider.AccessToken({
        accountId: subject.sub,
        client,
        grantId: await grant.save(),
        gty: "token_exchange",
        scope: scope === "" ? undefined : scope,
        resourceServer,
        expiresIn: Math.min(options.lifetime, ...left(subject))
      })
      if (actor !== undefined) {
        acting.set(token, { sub: actor.sub, ...(subject.act === undefined ? {} : { act: subject.act }) })
      } else if (subject.act !== undefined) acting.set(token, subject.act)
      if (proof !== undefined) {
        await Grants.checkDpopReplay(provider, ctx, proof, client.clientId)
        token.setThumbprint("jkt", proof.thumbprint)
      }
      ctx.oidc.entity("AccessToken", token)
      ctx.body = Grants.buildTokenResponse(provider, {
        accessToken: await token.save(),
        expiresIn: token.expiration,
        scope: token.scope,
        tokenType: token.tokenType,
        issuedTokenType: accessTokenType
      })
    },
    parameters,
    ["audience", "resource"]
  )
}
