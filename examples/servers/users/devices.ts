/** What an authorization server has to be told so that users can sign in on another device (RFC 8628). */
import type { Configuration, KoaContextWithOIDC } from "oidc-provider"
import * as Pages from "./pages.ts"

/** In seconds. */
export const lifetimes = { DeviceCode: 600 }

const show = (ctx: KoaContextWithOIDC, page: string): void => {
  ctx.type = "html"
  ctx.set("content-security-policy", Pages.contentSecurityPolicy)
  ctx.set("cache-control", "no-store")
  ctx.body = page
}

const problemOf = (error: Error | undefined): string | undefined => {
  if (error === undefined) return undefined
  return error.name === "AbortedError" ? "You said no. The device is told." : "There is no such code. Look again."
}

export const features = {
  deviceFlow: {
    enabled: true,
    userCodeInputSource: (ctx, form, _, error) => show(ctx, Pages.userCode({ form, problem: problemOf(error) })),
    userCodeConfirmSource: (ctx, form, client, _, code) =>
      show(ctx, Pages.confirmDevice({ form, code, clientName: client.clientName ?? client.clientId })),
    successSource: (ctx) => show(ctx, Pages.deviceSignedIn)
  }
} satisfies NonNullable<Configuration["features"]>
