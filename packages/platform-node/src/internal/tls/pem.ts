/**
 * What certificates and keys are good for, judged before any server sees them. Problems are sentences; nothing of a file,
 * and nothing of what OpenSSL says about it, gets into them.
 */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import { createSecureContext, type SecureContext } from "node:tls"
import { codeOf } from "../secretFile.ts"

/** @internal */
export type Field = "certificate" | "key" | "passphrase" | "ca"

/** @internal */
export interface PemProblem {
  readonly field: Field
  readonly problem: string
}

/** @internal What was read, as PEM. */
export interface Texts {
  readonly client:
    | { readonly certificate: string; readonly key: string; readonly passphrase: Redacted.Redacted<string> | undefined }
    | undefined
  readonly ca: string | undefined
}

/** @internal What a program shows of itself. */
export interface ClientIdentity {
  /** SHA-256 over the DER form, base64url (RFC 8705 section 3.1). */
  readonly thumbprint: string
  /** In milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
}

/** @internal */
export interface Material {
  readonly client: ClientIdentity | undefined
  /** Absent where Node's own defaults are good enough. */
  readonly secureContext: SecureContext | undefined
}

const fail = (field: Field, problem: string): Either.Either<never, PemProblem> => Either.left({ field, problem })

const attempt = <A>(work: () => A, field: Field, problem: (error: unknown) => string): Either.Either<A, PemProblem> =>
  Either.try({ try: work, catch: (error) => ({ field, problem: problem(error) }) })

const certificates = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g

const shapeOf = (text: string): string => {
  if (text.trim() === "") return "nothing in it"
  if (text.includes("PRIVATE KEY-----")) return "a private key"
  if (text.includes("-----BEGIN CERTIFICATE-----")) return "a certificate"
  return text.includes("-----BEGIN ") ? "PEM of another kind" : "something that is not PEM"
}

const parseCertificates = (
  field: Field,
  text: string,
  expected: string
): Either.Either<ReadonlyArray<X509Certificate>, PemProblem> => {
  const found = text.match(certificates)
  if (found === null) return fail(field, `found ${shapeOf(text)}, expected ${expected}`)
  return attempt(
    () => found.map((one) => new X509Certificate(one)),
    field,
    () => `found PEM with a damaged certificate, expected ${expected}`
  )
}

const parseKey = (text: string, passphrase: Redacted.Redacted<string> | undefined) => {
  if (!text.includes("PRIVATE KEY-----")) {
    return fail("key", `found ${shapeOf(text)}, expected a private key as PEM`)
  }
  const isEncrypted = text.includes("ENCRYPTED")
  if (isEncrypted && passphrase === undefined) {
    return fail("passphrase", "found none, but the key is encrypted, expected its passphrase")
  }
  const read = (): KeyObject =>
    createPrivateKey(passphrase === undefined ? text : { key: text, passphrase: Redacted.value(passphrase) })
  return isEncrypted
    ? attempt(read, "passphrase", () => "it does not open the key, expected the one that the key was encrypted with")
    : attempt(read, "key", () => "found a damaged private key, or one of a kind that Node cannot read")
}

const identityOf = (certificate: X509Certificate): ClientIdentity => ({
  thumbprint: createHash("sha256").update(certificate.raw).digest("base64url"),
  notBefore: Date.parse(certificate.validFrom),
  notAfter: Date.parse(certificate.validTo)
})

const isoOf = (millis: number): string => `${new Date(millis).toISOString().slice(0, -5)}Z`

/** @internal What is wrong with showing it at this time. */
export const outOfDate = ({ notAfter, notBefore }: ClientIdentity, now: number): PemProblem | undefined => {
  if (now > notAfter) {
    return { field: "certificate", problem: `it expired at ${isoOf(notAfter)}, expected one that is valid: renew it` }
  }
  return now < notBefore
    ? {
      field: "certificate",
      problem: `it is valid only from ${
        isoOf(notBefore)
      }, expected one that is valid now: is this machine's clock right?`
    }
    : undefined
}

const judgeClient = (client: NonNullable<Texts["client"]>, now: number): Either.Either<ClientIdentity, PemProblem> =>
  Either.gen(function*() {
    const [certificate] = yield* parseCertificates("certificate", client.certificate, "a certificate as PEM")
    const key = yield* parseKey(client.key, client.passphrase)
    if (!certificate!.checkPrivateKey(key)) {
      return yield* fail("key", "it does not belong to the certificate (to the first one, where there is a chain)")
    }
    const identity = identityOf(certificate!)
    const problem = outOfDate(identity, now)
    return problem === undefined ? identity : yield* Either.left(problem)
  })

/** @internal */
export const judge = ({ ca, client }: Texts, now: number): Either.Either<Material, PemProblem> =>
  Either.gen(function*() {
    if (ca !== undefined) yield* parseCertificates("ca", ca, "one or more certificates as PEM")
    const identity = client === undefined ? undefined : yield* judgeClient(client, now)
    if (client === undefined && ca === undefined) return { client: identity, secureContext: undefined }
    const secureContext = yield* attempt(
      () =>
        createSecureContext({
          ...(ca === undefined ? {} : { ca }),
          ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
          ...(client?.passphrase === undefined ? {} : { passphrase: Redacted.value(client.passphrase) })
        }),
      client === undefined ? "ca" : "certificate",
      (error) => `OpenSSL does not accept it (${codeOf(error)}), expected one of today's algorithms and key sizes`
    )
    return { client: identity, secureContext }
  })
