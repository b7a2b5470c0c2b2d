/**
 * Other libraries, each set up as its documentation says, over a `fetch` that is given.
 */
import { ConfidentialClientApplication } from "@azure/msal-node"
import { OAuth2Client, OAuth2Fetch } from "@badgateway/oauth2-client"
import { OAuth2Client as GoogleClient } from "google-auth-library"
import { setTimeout as sleep } from "node:timers/promises"
import { clientOptions, tokenAnswer } from "./ours.ts"

export type Fetch = typeof globalThis.fetch

export interface Counted {
  readonly fetch: Fetch
  readonly requests: () => number
}

export const counted = (fetch: Fetch): Counted => {
  let requests = 0
  return {
    fetch: (input, init) => {
      requests++
      return fetch(input, init)
    },
    requests: () => requests
  }
}

/** A token server without a network. */
export const tokenFetch = (millis: number): Counted => {
  let number = 0
  return counted(async () => {
    if (millis > 0) await sleep(millis)
    return Response.json(tokenAnswer(++number))
  })
}

const stubEndpoint = String(clientOptions.tokenEndpoint)

export const badgateway = (fetch: Fetch, tokenEndpoint = stubEndpoint): OAuth2Fetch => {
  const client = new OAuth2Client({
    server: tokenEndpoint,
    tokenEndpoint,
    clientId: "invoice",
    clientSecret: "secret",
    fetch
  })
  return new OAuth2Fetch({
    client,
    getNewToken: () => client.clientCredentials({ scope: ["invoice"] }),
    scheduleRefresh: false
  })
}

/**
 * Its machine grants want Google's own endpoints. The grant that can be sent elsewhere is that of a refresh token, which
 * goes through the same cache and the same healing of a 401.
 */
export const google = (fetch: Fetch, tokenEndpoint = stubEndpoint): GoogleClient => {
  const client = new GoogleClient({
    clientId: "invoice",
    clientSecret: "secret",
    endpoints: { oauth2TokenUrl: tokenEndpoint },
    forceRefreshOnFailure: true,
    transporterOptions: { fetchImplementation: fetch }
  })
  client.setCredentials({ refresh_token: "refresh" })
  return client
}

const tenant = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111"

/** So that it asks nobody where the authority's endpoints are. */
const authorityMetadata = JSON.stringify({
  issuer: `${tenant}/v2.0`,
  authorization_endpoint: `${tenant}/oauth2/v2.0/authorize`,
  token_endpoint: `${tenant}/oauth2/v2.0/token`,
  jwks_uri: `${tenant}/discovery/v2.0/keys`
})

export const msal = (fetch: Fetch, tokenEndpoint?: string): ConfidentialClientApplication => {
  const send = async <T>(url: string, init: RequestInit) => {
    const response = await fetch(tokenEndpoint ?? url, init)
    return { status: response.status, headers: {}, body: await response.json() as T }
  }
  return new ConfidentialClientApplication({
    auth: { clientId: "invoice", clientSecret: "secret", authority: tenant, authorityMetadata },
    system: {
      networkClient: {
        sendGetRequestAsync: (url) => send(url, {}),
        sendPostRequestAsync: (url, options) =>
          send(url, { method: "POST", headers: options?.headers ?? {}, body: options?.body ?? null })
      }
    }
  })
}

export const msalToken = (app: ConfidentialClientApplication, key: number): Promise<string> =>
  app.acquireTokenByClientCredential({ scopes: [`https://api${key}.example.com/.default`] })
    .then((result) => result?.accessToken ?? "")
