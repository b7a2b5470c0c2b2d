/** Somebody who has a token and a proof, and not the key. */
import { DPoPNonceStore, DPoPProofs, Signer, SigningKey, WwwAuthenticate } from "@effect-oauth/core"
import { FetchHttpClient, type Headers, HttpClient, HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { Effect, Layer, Redacted } from "effect"

/** What the thief has read: the newest token and the newest proof of the worker. */
export class Loot {
  token = Redacted.make("")
  proof = Redacted.make("")

  readonly take = ({ authorization = "", dpop = "" }: Headers.Headers): void => {
    this.token = Redacted.make(authorization.replace(/^DPoP /, ""))
    this.proof = Redacted.make(dpop)
  }
}

export interface Attempt {
  readonly how: string
  readonly status: number
  /** What the API says in its challenge. */
  readonly reason: string
  /** What it should begin with. */
  readonly expected: string
}

const reasonOf = ({ headers }: HttpClientResponse.HttpClientResponse): string => {
  const [challenge] = WwwAuthenticate.parse(headers["www-authenticate"] ?? "")
  const { error = "", error_description = "" } = challenge?.parameters ?? {}
  return `${error}: ${error_description}`
}

/** Each way to use the loot, and what the API says to it. */
const attempts = (url: string, { proof, token }: Loot) =>
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    const proofs = yield* DPoPProofs.DPoPProofs
    const asBearer = { authorization: `Bearer ${Redacted.value(token)}` }
    const asDPoP = { authorization: `DPoP ${Redacted.value(token)}` }
    const withProof = (proof: Redacted.Redacted<string>) => ({ ...asDPoP, dpop: Redacted.value(proof) })

    const send = (how: string, expected: string, headers: Record<string, string>) =>
      Effect.map(client.execute(HttpClientRequest.get(url, { headers })), (response) => ({
        attempt: { how, status: response.status, reason: reasonOf(response), expected },
        nonce: response.headers["dpop-nonce"]
      }))

    const bearer = yield* send("as a bearer token", "invalid_token", asBearer)
    const bare = yield* send("without a proof", "invalid_dpop_proof", asDPoP)
    // the nonce is no secret: every refusal tells it
    const key = yield* SigningKey.generate()
    const own = yield* proofs.proof({ key, method: "GET", url, accessToken: token, nonce: bare.nonce })
    const proven = yield* send("with a proof by another key", "invalid_token", withProof(own))
    const replayed = yield* send("with the worker's proof again", "invalid_dpop_proof", withProof(proof))
    return [bearer, bare, proven, replayed].map(({ attempt }) => attempt)
  })

const Tools = DPoPProofs.layer.pipe(
  Layer.provide([Signer.layer, DPoPNonceStore.layer()]),
  Layer.merge(FetchHttpClient.layer)
)

export const steal = ({ url }: { readonly url: string }, loot: Loot) =>
  Effect.provide(attempts(`${url}/invoices`, loot), Tools)
