/**
 * X.509 certificates for examples and tests, all on P-256: an authority of one's own, and what it signs for servers and
 * clients.
 */
// x509 does not load without it
import "reflect-metadata"
import * as x509 from "@peculiar/x509"
import { DateTime, Duration, Effect } from "effect"
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from "node:crypto"

export interface Options {
  /** Default "localhost" for a server, "worker" for a client. */
  readonly commonName?: string | undefined
  /** Names that a server is reached by. Default: localhost. */
  readonly dnsNames?: ReadonlyArray<string> | undefined
  /** Addresses that a server is reached by. Default: 127.0.0.1. */
  readonly ip?: ReadonlyArray<string> | undefined
  /** Default: an hour ago. */
  readonly notBefore?: DateTime.DateTime | undefined
  /** Default: in a day. */
  readonly notAfter?: DateTime.DateTime | undefined
}

/** Both as PEM. */
export interface Issued {
  readonly certificate: string
  readonly key: string
  /** The same key under a passphrase. */
  readonly encryptedKey: (passphrase: string) => string
  /** SHA-256 over the DER form, base64url: what a token that is bound to it names (RFC 8705 section 3.1). */
  readonly thumbprint: string
}

export interface Authority {
  /** As PEM: what trusts it, trusts what it signed. */
  readonly certificate: string
  readonly server: (options?: Options) => Effect.Effect<Issued>
  readonly client: (options?: Options) => Effect.Effect<Issued>
}

type Usage = "serverAuth" | "clientAuth"

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const

const generateKeys = () => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])

/** Twenty bytes at the most, and positive (RFC 5280 section 4.1.2.2). */
const serialNumber = () => `01${randomBytes(15).toString("hex")}`

const keyPem = async ({ privateKey }: webcrypto.CryptoKeyPair): Promise<string> =>
  createPrivateKey({
    key: Buffer.from(await webcrypto.subtle.exportKey("pkcs8", privateKey)),
    format: "der",
    type: "pkcs8"
  }).export({ format: "pem", type: "pkcs8" }).toString()

const encrypted = (key: string) => (passphrase: string) =>
  createPrivateKey(key).export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase }).toString()

const validity = (options: Options, now: DateTime.DateTime) => ({
  notBefore: DateTime.toDate(options.notBefore ?? DateTime.subtractDuration(now, Duration.hours(1))),
  notAfter: DateTime.toDate(options.notAfter ?? DateTime.addDuration(now, Duration.days(1)))
})

/** By which authorities of the same name are told apart. */
const identifiers = async (own: webcrypto.CryptoKeyPair, issuer: webcrypto.CryptoKeyPair) => [
  await x509.SubjectKeyIdentifierExtension.create(own.publicKey),
  await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)
]

const extensionsOf = (usage: Usage, { dnsNames, ip }: Options): Array<x509.Extension> => {
  const common = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[usage]])
  ]
  if (usage === "clientAuth") return common
  return [
    ...common,
    new x509.SubjectAlternativeNameExtension([
      ...(dnsNames ?? ["localhost"]).map((value) => ({ type: "dns" as const, value })),
      ...(ip ?? ["127.0.0.1"]).map((value) => ({ type: "ip" as const, value }))
    ])
  ]
}

interface Issuer {
  readonly name: string
  readonly keys: webcrypto.CryptoKeyPair
}

/** Without an issuer, it is its own. */
const issue = async (
  usage: Usage,
  options: Options,
  now: DateTime.DateTime,
  issuer: Issuer | undefined
): Promise<Issued> => {
  const keys = await generateKeys()
  const subject = `CN=${options.commonName ?? (usage === "serverAuth" ? "localhost" : "worker")}`
  const certificate = (await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: issuer?.name ?? subject,
    ...validity(options, now),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [...extensionsOf(usage, options), ...await identifiers(keys, issuer?.keys ?? keys)]
  })).toString("pem")
  const key = await keyPem(keys)
  const fingerprint = new X509Certificate(certificate).fingerprint256.replaceAll(":", "")
  return {
    certificate,
    key,
    encryptedKey: encrypted(key),
    thumbprint: Buffer.from(fingerprint, "hex").toString("base64url")
  }
}

const issuing = (usage: Usage, issuer?: Issuer) => (options: Options = {}): Effect.Effect<Issued> =>
  Effect.flatMap(DateTime.now, (now) => Effect.promise(() => issue(usage, options, now, issuer)))

/** Certificates that no authority stands behind. */
export const selfSigned = { server: issuing("serverAuth"), client: issuing("clientAuth") }

/** A new authority, trusted by nobody yet. */
export const makeAuthority = (options: Options = {}): Effect.Effect<Authority> =>
  Effect.gen(function*() {
    const now = yield* DateTime.now
    const keys = yield* Effect.promise(generateKeys)
    const name = `CN=${options.commonName ?? "An authority of the example"}`
    const root = yield* Effect.promise(async () =>
      x509.X509CertificateGenerator.createSelfSigned({
        serialNumber: serialNumber(),
        name,
        ...validity(options, now),
        signingAlgorithm: algorithm,
        keys,
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
          ...await identifiers(keys, keys)
        ]
      })
    )
    const issuer = { name, keys }
    return {
      certificate: root.toString("pem"),
      server: issuing("serverAuth", issuer),
      client: issuing("clientAuth", issuer)
    }
  })
