/** What an authorization server has to be told so that users can sign in. */
import type * as Library from "oidc-provider"
import type { ClientMetadata, Configuration } from "oidc-provider"
import { multiFactor, oneFactor } from "./interactions.ts"
import * as Pages from "./pages.ts"

export interface Users {
  /** Further claims of a user, or others. They go with the scope "profile". */
  readonly claims?: ((userName: string) => Readonly<Record<string, unknown>>) | undefined
  /** ID tokens say what userinfo says. Else, by default, they say only who it is. */
  readonly claimsInIdToken?: boolean | undefined
}

/** Also of a name that is no user's yet: any works. */
const claimsOf = (users: Users, userName: string) => ({
  name: `${userName.slice(0, 1).toUpperCase()}${userName.slice(1)} Example`,
  preferred_username: userName,
  email: `${userName}@example.com`,
  email_verified: true,
  role: [userName.startsWith("admin") ? "admin" : "member"],
  ...users.claims?.(userName),
  sub: userName
})

/** oidc-provider itself takes `acr_values` for a wish that no login follows. */
const policyOf = (library: typeof Library) => {
  const { Check, base } = library.interactionPolicy
  const policy = base()
  policy.get("login")?.checks.add(
    new Check("acr_values", "a stronger login was asked for", "login_required", ({ oidc }) => {
      const wanted = String(oidc.params?.acr_values ?? "").split(" ")
      const reached = oidc.session?.acr
      return wanted.includes(multiFactor) && (reached === undefined || !wanted.includes(reached))
    })
  )
  return policy
}

const oidcScopes = ["openid", "offline_access", "profile", "email"]

/** Those of an API: not those that say what a client may know of its user. */
export const apiScopes = (scopes: ReadonlyArray<string>): ReadonlyArray<string> =>
  scopes.filter((scope) => !oidcScopes.includes(scope))

export const scopesOf = (clients: ReadonlyArray<ClientMetadata>): Array<string> => [
  ...new Set([...oidcScopes, ...clients.flatMap(({ scope }) => scope?.split(" ") ?? [])])
]

const hour = 3600
const fortnight = 14 * 24 * hour

/** In seconds. The defaults of oidc-provider are the same, but it says on each start that they are defaults. */
export const lifetimes = {
  Grant: fortnight,
  IdToken: hour,
  Interaction: hour,
  RefreshToken: fortnight,
  Session: fortnight
}

export const features = {
  pushedAuthorizationRequests: { enabled: true },
  requestObjects: { enabled: true },
  userinfo: { enabled: true },
  jwtUserinfo: { enabled: true },
  backchannelLogout: { enabled: true },
  rpInitiatedLogout: {
    enabled: true,
    logoutSource: (ctx, form) => {
      ctx.type = "html"
      ctx.set("content-security-policy", Pages.contentSecurityPolicy)
      ctx.body = Pages.logout({ userName: ctx.oidc.session?.accountId ?? "", form })
    },
    postLogoutSuccessSource: (ctx) => {
      ctx.type = "html"
      ctx.body = Pages.signedOut
    }
  }
} satisfies NonNullable<Configuration["features"]>

export const configuration = (
  library: typeof Library,
  options: { readonly users: Users; readonly issuer: string; readonly cookieKeys: ReadonlyArray<string> }
) => {
  const { cookieKeys, issuer, users } = options
  const path = new URL(issuer).pathname.replace(/\/$/, "")
  const { email: _email, email_verified: _verified, sub: _sub, ...profile } = claimsOf(users, "anybody")
  return {
    acrValues: [oneFactor, multiFactor],
    claims: {
      openid: ["sub", "acr", "amr", "auth_time"],
      profile: Object.keys(profile),
      email: ["email", "email_verified"]
    },
    // how the user of a token has signed in, for APIs (RFC 9068 section 2.2.1)
    extraTokenClaims: ({ oidc }) => {
      const { acr, authTime } = oidc.entities.AuthorizationCode ?? oidc.entities.RefreshToken ?? {}
      return authTime === undefined ? undefined : { acr, auth_time: authTime }
    },
    conformIdTokenClaims: users.claimsInIdToken !== true,
    cookies: { keys: [...cookieKeys] },
    findAccount: (_, userName) => ({ accountId: userName, claims: () => claimsOf(users, userName) }),
    interactions: {
      policy: policyOf(library),
      url: (_, { uid }) => `${path}/interaction/${uid}`
    },
    pkce: { required: () => true },
    renderError: (ctx, { error, error_description: description = "" }) => {
      ctx.type = "html"
      ctx.body = Pages.failure({ error, description })
    },
    rotateRefreshToken: true
  } satisfies Configuration
}
