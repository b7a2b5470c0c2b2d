import type * as Option from "effect/Option"
import type { ClientCertificate } from "../../ClientCertificate.ts"
import type { TokenClient } from "../../TokenClient.ts"

/** @internal The certificate that a client shows its server: that of its own way there, or of the common one. */
export const certificateOf = (
  { authentication, httpClient }: TokenClient,
  common: Option.Option<ClientCertificate["Type"]>
): ClientCertificate["Type"] | undefined => {
  if (authentication._tag === "TlsClientAuth" && authentication.certificate !== undefined) {
    return authentication.certificate
  }
  return httpClient === undefined && common._tag === "Some" ? common.value : undefined
}
