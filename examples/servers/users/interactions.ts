/** The login and consent pages of the authorization server, where any user name works. */
import { Schema } from "effect"
import type { IncomingMessage } from "node:http"
import type Provider from "oidc-provider"
import type { InteractionResults } from "oidc-provider"
import * as Pages from "./pages.ts"

/** What a second login, or one that was asked for it, reaches; and what a first one does. */
export const multiFactor = "urn:example:mfa"
export const oneFactor = "urn:example:pwd"

type Interaction = Awaited<ReturnType<Provider["interactionDetails"]>>

const Missing = Schema.Struct({
  missingOIDCScope: Schema.optional(Schema.mutable(Schema.Array(Schema.String))),
  missingOIDCClaims: Schema.optional(Schema.mutable(Schema.Array(Schema.String))),
  missingResourceScopes: Schema.optional(
    Schema.Record({ key: Schema.String, value: Schema.mutable(Schema.Array(Schema.String)) })
  )
})

const text = (value: unknown): string => typeof value === "string" ? value : ""

const words = (value: unknown): ReadonlyArray<string> => text(value).split(" ").filter((word) => word !== "")

const isStepUp = ({ params, session }: Interaction): boolean =>
  words(params.acr_values).includes(multiFactor) ||
  text(params.claims).includes(multiFactor) ||
  (session !== undefined && words(params.prompt).includes("login"))

const loginResult = (interaction: Interaction, accountId: string): InteractionResults => ({
  login: isStepUp(interaction)
    ? { accountId, acr: multiFactor, amr: ["pwd", "otp", "mfa"] }
    : { accountId, acr: oneFactor, amr: ["pwd"] }
})

const consentResult = async (provider: Provider, interaction: Interaction): Promise<InteractionResults> => {
  const { grantId, params, prompt, session } = interaction
  const known = grantId === undefined ? undefined : await provider.Grant.find(grantId)
  const grant = known ?? new provider.Grant({ accountId: session?.accountId, clientId: text(params.client_id) })
  const missing = Schema.decodeUnknownSync(Missing)(prompt.details)
  if (missing.missingOIDCScope !== undefined) grant.addOIDCScope(missing.missingOIDCScope)
  if (missing.missingOIDCClaims !== undefined) grant.addOIDCClaims(missing.missingOIDCClaims)
  for (const [resource, scopes] of Object.entries(missing.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes)
  }
  return { consent: { grantId: await grant.save() } }
}

const pageOf = async (provider: Provider, interaction: Interaction): Promise<string> => {
  const { params, prompt, session, uid } = interaction
  const client = await provider.Client.find(text(params.client_id))
  const clientName = client?.clientName ?? text(params.client_id)
  if (prompt.name === "consent") {
    return Pages.consent({ uid, clientName, userName: session?.accountId ?? "", scopes: words(params.scope) })
  }
  const userName = text(params.login_hint) || session?.accountId || "alice"
  return Pages.login({ uid, clientName, userName, stepUp: isStepUp(interaction) })
}

const readForm = async (request: IncomingMessage): Promise<URLSearchParams> => {
  let body = ""
  for await (const chunk of request) {
    body += String(chunk)
    if (body.length > 10_000) break
  }
  return new URLSearchParams(body)
}

/** Nothing, where the form was not filled in. */
const submitted = async (
  provider: Provider,
  interaction: Interaction,
  request: IncomingMessage
): Promise<InteractionResults | undefined> => {
  if (interaction.prompt.name === "consent") return consentResult(provider, interaction)
  const userName = (await readForm(request)).get("login")?.trim() ?? ""
  return userName === "" || userName.length > 100 ? undefined : loginResult(interaction, userName)
}

/** In front of whatever else is put on the provider, so that nothing records the names of interactions. */
export const serve = (provider: Provider): void => {
  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith("/interaction/")) return next()
    ctx.set({
      "cache-control": "no-store",
      "content-security-policy": Pages.contentSecurityPolicy,
      "referrer-policy": "same-origin"
    })
    ctx.type = "html"
    const { req, res } = ctx
    const interaction = await provider.interactionDetails(req, res).catch(() => undefined)
    if (interaction === undefined) {
      ctx.status = 400
      ctx.body = Pages.failure({
        error: "session_not_found",
        description: "This login is over, or was never begun here."
      })
      return
    }
    const result = ctx.path.endsWith("/cancel")
      ? { error: "access_denied", error_description: "The user said no" }
      : ctx.method === "POST"
      ? await submitted(provider, interaction, req)
      : undefined
    if (result === undefined) {
      ctx.body = await pageOf(provider, interaction)
      return
    }
    const mergeWithLastSubmission = "consent" in result
    ctx.redirect(await provider.interactionResult(req, res, result, { mergeWithLastSubmission }))
    ctx.status = 303
  })
}
