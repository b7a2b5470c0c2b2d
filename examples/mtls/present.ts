/** Somebody's token on a connection of one's own. */
import { WwwAuthenticate } from "@effect-oauth/core"
import { NodeBackchannel } from "@effect-oauth/platform-node"
import { HttpClientRequest } from "@effect/platform"
import { Effect, Redacted } from "effect"
import type { Authority, Issued } from "../servers/certificates.ts"

export interface Options {
  readonly authority: Pick<Authority, "certificate">
  /** Default: none. */
  readonly certificate?: Issued | undefined
}

const certificateOf = ({ certificate, key }: Issued): NodeBackchannel.CertificateOptions => ({
  certificate: NodeBackchannel.pem(certificate),
  key: NodeBackchannel.pem(Redacted.make(key))
})

/** The API's answer, with what it says in its challenge. */
export const present = (url: string, token: Redacted.Redacted<string>, { authority, certificate }: Options) =>
  Effect.gen(function*() {
    const { httpClient } = yield* NodeBackchannel.make({
      ca: NodeBackchannel.pem(authority.certificate),
      certificate: certificate && certificateOf(certificate),
      proxy: false
    })
    const request = HttpClientRequest.bearerToken(HttpClientRequest.get(url), token)
    const { headers, status } = yield* httpClient.execute(request)
    const [challenge] = WwwAuthenticate.parse(headers["www-authenticate"] ?? "")
    const { error = "", error_description = "" } = challenge?.parameters ?? {}
    return { status, reason: `${error}: ${error_description}` }
  }).pipe(Effect.scoped)
