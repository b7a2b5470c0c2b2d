/**
 * Over real TLS, on loopback, with certificates of an authority of the test's own.
 */
import {
  Backchannel,
  ClientCertificate,
  ClientCredentialsTokenManager,
  OAuthLogging,
  TokenClients
} from "@effect-oauth/core"
import type { OAuthError } from "@effect-oauth/core"
import { NodeBackchannel, NodeOAuth } from "@effect-oauth/platform-node"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  type ConfigError,
  ConfigProvider,
  DateTime,
  Duration,
  Effect,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Redacted,
  Schedule,
  type Scope,
  TestClock
} from "effect"
import * as fs from "node:fs/promises"
import type * as http from "node:http"
import { join } from "node:path"
import * as Certificates from "../../../examples/servers/certificates.ts"
import { printed } from "./support/printed.ts"
import { temporaryFolder } from "./support/temporaryFolder.ts"
import { connectProxy, listenSilently, listenTls, shownBy } from "./support/tls.ts"

// A proxy of the machine that the tests run on is not theirs.
for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]) {
  delete process.env[name]
  delete process.env[name.toLowerCase()]
}

/** At once, or what looks at the file every few milliseconds would see half of it now and then. */
const write = (file: string, content: string, mode = 0o600) =>
  Effect.promise(async () => {
    await fs.writeFile(`${file}.new`, content)
    await fs.chmod(`${file}.new`, mode)
    await fs.rename(`${file}.new`, file)
  })

const issuedFiles = (folder: string, issued: Certificates.Issued) =>
  Effect.gen(function*() {
    const certificate = join(folder, "client.pem")
    const key = join(folder, "client.key")
    yield* write(certificate, issued.certificate, 0o644)
    yield* write(key, issued.key)
    return { certificate: { file: certificate }, key: { file: key } }
  })

/** An authority, a server that wants its client certificates, and files with one. */
const setUp = (handler?: http.RequestListener) =>
  Effect.gen(function*() {
    const authority = yield* Certificates.makeAuthority()
    const { certificate: cert, key } = yield* authority.server()
    const server = yield* listenTls({ cert, key, ca: authority.certificate }, handler)
    const folder = yield* temporaryFolder
    const client = yield* authority.client()
    const files = yield* issuedFiles(folder, client)
    return { authority, server, folder, client, files, ca: { pem: authority.certificate } }
  })

const text = (client: HttpClient.HttpClient, url: string) =>
  Effect.flatMap(client.get(url), (response) => response.text)

const codeOf = (error: unknown): unknown => (error as { readonly cause?: { readonly code?: unknown } }).cause?.code

const until = (condition: () => boolean) =>
  Effect.repeat(Effect.sleep("10 millis"), { until: condition }).pipe(Effect.timeout("8 seconds"))

const environment = (variables: Record<string, string>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

/** What a program logged at Info and above. */
const recording = () => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${String(message)}`)
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

const build = (options?: NodeBackchannel.Options) => Layer.build(NodeBackchannel.layer(options))

describe("NodeBackchannel", () => {
  describe("shows a client certificate", () => {
    it.scopedLive("from files, and knows its thumbprint; other clients are turned away", () =>
      Effect.gen(function*() {
        const { ca, client, files, server } = yield* setUp()
        const { certificate, httpClient } = yield* NodeBackchannel.make({ certificate: files, ca })
        assert.strictEqual(yield* text(httpClient, server.url), client.thumbprint)
        assert.strictEqual(certificate?.thumbprint(), client.thumbprint)
        const without = yield* NodeBackchannel.make({ ca })
        assert.isUndefined(without.certificate)
        yield* Effect.flip(without.httpClient.get(server.url))
      }))

    it.scopedLive("from texts, its key under a passphrase, both in one PEM", () =>
      Effect.gen(function*() {
        const { ca, client, server } = yield* setUp()
        const pem = { pem: Redacted.make(`${client.certificate}\n${client.encryptedKey("open sesame")}`) }
        const { httpClient } = yield* NodeBackchannel.make({
          certificate: { certificate: pem, key: pem, passphrase: Redacted.make("open sesame") },
          ca
        })
        assert.strictEqual(yield* text(httpClient, server.url), client.thumbprint)
      }))

    it.scopedLive("as the Backchannel, as the ClientCertificate, and as the HttpClient for an API", () =>
      Effect.gen(function*() {
        const { ca, client, files, server } = yield* setUp()
        yield* Effect.gen(function*() {
          assert.strictEqual(yield* text(yield* Backchannel.Backchannel, server.url), client.thumbprint)
          assert.strictEqual((yield* ClientCertificate.ClientCertificate).thumbprint(), client.thumbprint)
          assert.strictEqual(yield* HttpClient.HttpClient, yield* Backchannel.Backchannel)
        }).pipe(Effect.provide(
          NodeBackchannel.layerHttpClient.pipe(
            Layer.provideMerge(NodeBackchannel.layer({ certificate: files, ca }))
          )
        ))
        const none = yield* Effect.provide(
          Effect.serviceOption(ClientCertificate.ClientCertificate),
          NodeBackchannel.layer({ ca })
        )
        assert.isTrue(Option.isNone(none))
      }))

    it.scopedLive("by configuration", () =>
      Effect.gen(function*() {
        const { authority, client, files, folder, server } = yield* setUp()
        yield* write(join(folder, "ca.pem"), authority.certificate, 0o644)
        yield* write(files.key.file, client.encryptedKey("open sesame"))
        const fileIn = (name: string) => Config.map(Config.string(name), NodeBackchannel.file)
        const layer = NodeBackchannel.layerConfig({
          certificate: {
            certificate: fileIn("CERTIFICATE"),
            key: fileIn("KEY"),
            passphrase: Config.option(Config.redacted("PASSPHRASE"))
          },
          ca: fileIn("CA"),
          connectTimeout: Config.option(Config.duration("CONNECT_TIMEOUT")),
          connections: 2
        })
        const variables = {
          CERTIFICATE: files.certificate.file,
          KEY: files.key.file,
          CA: join(folder, "ca.pem"),
          PASSPHRASE: "open sesame"
        }
        yield* Effect.gen(function*() {
          assert.strictEqual(yield* text(yield* Backchannel.Backchannel, server.url), client.thumbprint)
          assert.strictEqual((yield* ClientCertificate.ClientCertificate).thumbprint(), client.thumbprint)
        }).pipe(Effect.provide(Layer.provide(layer, environment(variables))))

        const missing = yield* Effect.flip(Layer.build(Layer.provide(layer, environment({ CA: variables.CA }))))
        assert.include(String(missing), "CERTIFICATE")
        assert.include(String(missing), "KEY")
        const locked = yield* Effect.flip(
          Layer.build(Layer.provide(layer, environment({ ...variables, PASSPHRASE: "" })))
        )
        assert.strictEqual(locked._tag === "CertificateError" && locked.field, "passphrase")
        yield* Layer.build(NodeBackchannel.layerConfig(Config.succeed({})))
      }))

    it("in the types exactly where a certificate is given", () => {
      const certificate = { certificate: NodeBackchannel.file("a"), key: NodeBackchannel.pem("b") }
      type Errors = NodeBackchannel.CertificateError | NodeBackchannel.ProxyError
      const both: Layer.Layer<Backchannel.Backchannel | ClientCertificate.ClientCertificate, Errors> = NodeBackchannel
        .layer({ certificate })
      // @ts-expect-error there is none
      const none: Layer.Layer<ClientCertificate.ClientCertificate, Errors> = NodeBackchannel.layer({})
      // @ts-expect-error there is none either
      const configured: Layer.Layer<ClientCertificate.ClientCertificate, Errors | ConfigError.ConfigError> =
        NodeBackchannel.layerConfig({ connections: Config.integer("N") })
      for (const layer of [both, none, configured]) assert.isTrue(Layer.isLayer(layer))
    })
  })

  describe("when files change", () => {
    it.scopedLive("new requests show the new certificate, one under way ends as it began, then its connection goes", () =>
      Effect.gen(function*() {
        const held: Array<() => void> = []
        const { authority, ca, client, files, folder, server } = yield* setUp((request, response) => {
          const shown = shownBy(request)
          if (request.url !== "/slow") return void response.end(shown)
          response.write("slow ")
          held.push(() => response.end(shown))
        })
        const { certificate, httpClient } = yield* NodeBackchannel.make({
          certificate: files,
          ca,
          checkEvery: "20 millis"
        })
        const slow = yield* Effect.fork(text(httpClient, `${server.url}/slow`))
        yield* until(() => held.length === 1)
        yield* text(httpClient, server.url)
        assert.strictEqual(server.open(), 2)

        const next = yield* authority.client()
        yield* issuedFiles(folder, next)
        yield* until(() => certificate!.thumbprint() === next.thumbprint)
        assert.strictEqual(yield* text(httpClient, server.url), next.thumbprint)
        // the old idle one is closed, the old busy one is not
        yield* until(() => server.open() === 2)
        held[0]!()
        assert.strictEqual(yield* Fiber.join(slow), `slow ${client.thumbprint}`)
        yield* until(() => server.open() === 1)
        assert.strictEqual(yield* text(httpClient, server.url), next.thumbprint)
        assert.strictEqual(server.made(), 3)
      }))

    it.scopedLive("half of a pair changes nothing and is told once; the whole is used, and told", () => {
      const { layer, lines } = recording()
      return Effect.gen(function*() {
        const { authority, ca, client, files, server } = yield* setUp()
        const { certificate, httpClient } = yield* NodeBackchannel.make({
          certificate: files,
          ca,
          checkEvery: "10 millis"
        })
        const next = yield* authority.client()
        yield* write(files.certificate.file, next.certificate)
        yield* until(() => lines.length === 1)
        yield* Effect.sleep("100 millis")
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0]!, /^WARN .*client\.key: it does not belong to the certificate/)
        assert.strictEqual(certificate!.thumbprint(), client.thumbprint)
        assert.strictEqual(yield* text(httpClient, server.url), client.thumbprint)

        yield* Effect.promise(() => fs.rm(files.key.file))
        yield* until(() => lines.length === 2)
        assert.match(lines[1]!, /^WARN .*found no such file/)

        yield* write(files.key.file, next.key)
        yield* until(() => certificate!.thumbprint() === next.thumbprint)
        yield* until(() => lines.length === 3)
        assert.strictEqual(
          lines[2],
          `INFO the backchannel's files have changed and are used from now on, client certificate ${next.thumbprint}`
        )
        assert.strictEqual(yield* text(httpClient, server.url), next.thumbprint)
        // the same trouble again is a change of state again
        yield* Effect.promise(() => fs.rm(files.key.file))
        yield* until(() => lines.length === 4)
        for (const line of next.key.split("\n").slice(1, -2)) assert.isFalse(lines.join().includes(line))
      }).pipe(Effect.provide(layer))
    })

    it.scopedLive("warnings keep to the level of OAuthLogging", () => {
      const { layer, lines } = recording()
      return Effect.gen(function*() {
        const { ca, files } = yield* setUp()
        yield* Effect.provide(
          NodeBackchannel.make({ certificate: files, ca, checkEvery: "10 millis" }),
          OAuthLogging.layer(LogLevel.None)
        )
        yield* Effect.promise(() => fs.rm(files.key.file))
        yield* Effect.sleep("100 millis")
        assert.deepStrictEqual(lines, [])
      }).pipe(Effect.provide(layer))
    })

    it.scopedLive("another authority is trusted from then on", () =>
      Effect.gen(function*() {
        const { authority, folder, server, files } = yield* setUp()
        const other = yield* Certificates.makeAuthority()
        const ca = join(folder, "ca.pem")
        yield* write(ca, other.certificate)
        const { httpClient } = yield* NodeBackchannel.make({
          certificate: files,
          ca: { file: ca },
          checkEvery: "20 millis"
        })
        yield* Effect.flip(httpClient.get(server.url))
        yield* write(ca, `# both\n${other.certificate}\n${authority.certificate}`)
        yield* Effect.retry(httpClient.get(server.url), { schedule: Schedule.spaced("20 millis") }).pipe(
          Effect.timeout("5 seconds")
        )
      }))

    /** Waits for the disk, whose time is not the TestClock's. */
    const settle = (done: () => boolean = () => false) =>
      Effect.promise(async () => {
        for (let wait = 0; wait < (done() ? 0 : 20); wait++) await new Promise((resolve) => setTimeout(resolve, 5))
      })
    const eventually = (done: () => boolean) => Effect.repeat(settle(done), { until: done, times: 50 })

    it.scoped("looks every 30 seconds, and says once that a certificate has expired", () => {
      const { layer, lines } = recording()
      return Effect.gen(function*() {
        const notAfter = DateTime.add(yield* DateTime.now, { minutes: 2 })
        const authority = yield* Certificates.makeAuthority()
        const folder = yield* temporaryFolder
        const files = yield* issuedFiles(folder, yield* authority.client({ notAfter }))
        const { certificate } = yield* NodeBackchannel.make({ certificate: files })
        const next = yield* authority.client({ notAfter })
        yield* issuedFiles(folder, next)
        yield* TestClock.adjust("29 seconds")
        yield* settle()
        assert.notStrictEqual(certificate!.thumbprint(), next.thumbprint)
        yield* TestClock.adjust("1 seconds")
        yield* eventually(() => certificate!.thumbprint() === next.thumbprint)
        assert.strictEqual(certificate!.thumbprint(), next.thumbprint)

        const expiries = () => lines.filter((line) => line.includes("it expired at 1970-01-01T00:02:00Z")).length
        yield* TestClock.adjust("60 seconds")
        yield* settle()
        assert.strictEqual(expiries(), 0)
        for (let check = 0; check < 8; check++) {
          yield* TestClock.adjust("30 seconds")
          yield* settle()
        }
        assert.strictEqual(expiries(), 1)
      }).pipe(Effect.provide(layer))
    })
  })

  describe("refuses to start, and shows nothing of a file", () => {
    interface Prepared {
      readonly folder: string
      readonly authority: Certificates.Authority
      readonly issued: Certificates.Issued
      readonly files: { readonly certificate: { file: string }; readonly key: { file: string } }
    }
    type Case = readonly [
      name: string,
      options: (prepared: Prepared) => Effect.Effect<NodeBackchannel.Options, never, Scope.Scope>,
      field: NodeBackchannel.CertificateError["field"],
      problem: string
    ]
    const with_ = (certificate: NodeBackchannel.CertificateOptions): NodeBackchannel.Options => ({ certificate })
    const damaged = (pem: string) => pem.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA")
    const cases: ReadonlyArray<Case> = [
      [
        "no such file",
        ({ files, folder }) => Effect.succeed(with_({ ...files, certificate: { file: join(folder, "none.pem") } })),
        "certificate",
        "found no such file, expected a certificate as PEM"
      ],
      [
        "a directory",
        ({ files, folder }) => Effect.succeed(with_({ ...files, key: { file: folder } })),
        "key",
        "found a directory, expected a file with a private key as PEM"
      ],
      [
        "a key that others can read",
        ({ files }) => Effect.as(Effect.promise(() => fs.chmod(files.key.file, 0o644)), with_(files)),
        "key",
        "found mode 0644"
      ],
      [
        "an empty file",
        ({ files }) => Effect.as(write(files.certificate.file, ""), with_(files)),
        "certificate",
        "found nothing in it"
      ],
      [
        "a key in place of the certificate",
        ({ files }) => Effect.succeed(with_({ ...files, certificate: files.key })),
        "certificate",
        "found a private key, expected a certificate as PEM"
      ],
      [
        "a certificate in place of the key",
        ({ files, issued }) => Effect.succeed(with_({ ...files, key: { pem: issued.certificate } })),
        "key",
        "found a certificate, expected a private key as PEM"
      ],
      [
        "a certificate that is damaged",
        ({ files, issued }) => Effect.as(write(files.certificate.file, damaged(issued.certificate)), with_(files)),
        "certificate",
        "a damaged certificate"
      ],
      [
        "a key that is damaged",
        ({ files, issued }) => Effect.as(write(files.key.file, damaged(issued.key)), with_(files)),
        "key",
        "a damaged private key"
      ],
      [
        "text that is not PEM",
        ({ files, issued }) => Effect.as(write(files.key.file, issued.key.replaceAll("-", "")), with_(files)),
        "key",
        "found something that is not PEM"
      ],
      [
        "a key of another certificate",
        ({ authority, files }) =>
          Effect.flatMap(authority.client(), (other) => Effect.as(write(files.key.file, other.key), with_(files))),
        "key",
        "does not belong to the certificate"
      ],
      [
        "an encrypted key without a passphrase",
        ({ files, issued }) => Effect.as(write(files.key.file, issued.encryptedKey("5ecr3t")), with_(files)),
        "passphrase",
        "found none"
      ],
      [
        "a wrong passphrase",
        ({ files, issued }) =>
          Effect.as(
            write(files.key.file, issued.encryptedKey("5ecr3t")),
            with_({ ...files, passphrase: Redacted.make("5ecr3t too") })
          ),
        "passphrase",
        "it does not open the key"
      ],
      [
        "a certificate that has expired",
        ({ authority, folder }) =>
          Effect.gen(function*() {
            const notAfter = DateTime.unsafeMake("2024-02-29T12:00:00Z")
            const expired = yield* authority.client({ notBefore: DateTime.subtract(notAfter, { days: 1 }), notAfter })
            return with_(yield* issuedFiles(folder, expired))
          }),
        "certificate",
        "it expired at 2024-02-29T12:00:00Z"
      ],
      [
        "a certificate that is not valid yet",
        ({ authority, folder }) =>
          Effect.gen(function*() {
            const notBefore = DateTime.unsafeMake("2049-01-01T00:00:00Z")
            const early = yield* authority.client({ notBefore, notAfter: DateTime.add(notBefore, { days: 1 }) })
            return with_(yield* issuedFiles(folder, early))
          }),
        "certificate",
        "it is valid only from 2049-01-01T00:00:00Z"
      ],
      [
        "authorities that are none",
        ({ issued }) => Effect.succeed({ ca: { pem: issued.key } }),
        "ca",
        "found a private key, expected one or more certificates as PEM"
      ],
      [
        "one damaged authority among others",
        ({ authority }) =>
          Effect.succeed({ ca: { pem: `${authority.certificate}\n${damaged(authority.certificate)}` } }),
        "ca",
        "a damaged certificate"
      ]
    ]
    for (const [name, prepare, field, problem] of cases) {
      it.scopedLive(name, () =>
        Effect.gen(function*() {
          const folder = yield* temporaryFolder
          const authority = yield* Certificates.makeAuthority()
          const issued = yield* authority.client()
          const files = yield* issuedFiles(folder, issued)
          const options = yield* prepare({ folder, authority, issued, files })
          const error = yield* Effect.flip(build(options))
          assert.strictEqual(error._tag, "CertificateError")
          if (error._tag !== "CertificateError") return
          assert.strictEqual(error.field, field)
          assert.include(error.message, problem)
          assert.include(error.message, "backchannel, ")
          if (error.file !== undefined) assert.include(error.message, error.file)
          const shown = printed(error)
          const secrets = [issued.key, issued.certificate].flatMap((pem) => pem.split("\n").slice(1, -2))
          for (const secret of [...secrets, "5ecr3t"]) assert.isFalse(shown.includes(secret), shown)
        }))
    }

    it.effect("the time is that of Effect's Clock", () =>
      Effect.gen(function*() {
        const notAfter = DateTime.add(yield* DateTime.now, { hours: 1 })
        const issued = yield* Effect.flatMap(
          Certificates.makeAuthority(),
          (authority) => authority.client({ notAfter })
        )
        const options = { certificate: { certificate: { pem: issued.certificate }, key: { pem: issued.key } } }
        yield* Effect.scoped(build(options))
        yield* TestClock.adjust(Duration.minutes(61))
        const error = yield* Effect.flip(Effect.scoped(build(options)))
        assert.include(error.message, "it expired at 1970-01-01T01:00:00Z")
      }))
  })

  describe("a token request", () => {
    const request = (tokenEndpoint: string, options: NodeBackchannel.Options = {}) =>
      Effect.flip(ClientCredentialsTokenManager.get()).pipe(
        Effect.provide(NodeOAuth.layer.pipe(
          Layer.provideMerge(
            TokenClients.layer({ worker: { tokenEndpoint, clientId: "worker", timeout: "5 seconds" } })
          ),
          Layer.provide(NodeBackchannel.layer(options)),
          Layer.provide(OAuthLogging.layer(LogLevel.None))
        ))
      ) as Effect.Effect<OAuthError.AccessTokenError, never>

    interface Prepared {
      readonly authority: Certificates.Authority
      readonly other: Certificates.Authority
    }
    type Server = { readonly certificate: string; readonly key: string }
    type Case = readonly [
      name: string,
      server: (prepared: Prepared) => Effect.Effect<Server>,
      code: string,
      advice: string
    ]
    const servers: ReadonlyArray<Case> = [
      [
        "whose certificate has expired",
        ({ authority }) =>
          Effect.flatMap(DateTime.now, (now) => authority.server({ notAfter: DateTime.subtract(now, { minutes: 1 }) })),
        "CERT_HAS_EXPIRED",
        "has expired: renew it"
      ],
      [
        "whose certificate is not valid yet",
        ({ authority }) =>
          Effect.flatMap(DateTime.now, (now) => authority.server({ notBefore: DateTime.add(now, { minutes: 9 }) })),
        "CERT_NOT_YET_VALID",
        "clock"
      ],
      [
        "of another authority",
        ({ other }) => other.server(),
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "trust that authority (ca"
      ],
      [
        "of another authority, which it sends along",
        ({ other }) =>
          Effect.map(other.server(), ({ certificate, key }) => ({
            certificate: `${certificate}\n${other.certificate}`,
            key
          })),
        "SELF_SIGNED_CERT_IN_CHAIN",
        "trust that authority (ca"
      ],
      [
        "that signed its certificate itself",
        () => Certificates.selfSigned.server(),
        "DEPTH_ZERO_SELF_SIGNED_CERT",
        "signed by itself: trust it (ca"
      ],
      [
        "with the certificate of another host",
        ({ authority }) => authority.server({ dnsNames: ["as.example"], ip: ["192.0.2.1"] }),
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "for another name"
      ],
      [
        "with the certificate of a client",
        ({ authority }) => authority.client(),
        "INVALID_PURPOSE",
        "not meant for servers"
      ]
    ]
    for (const [name, make, code, advice] of servers) {
      it.scopedLive(`to a server ${name}: one attempt, and what to do`, () =>
        Effect.gen(function*() {
          const authority = yield* Certificates.makeAuthority()
          const other = yield* Certificates.makeAuthority({ commonName: "Another one" })
          const { certificate: cert, key } = yield* make({ authority, other })
          const server = yield* listenTls({ cert, key })
          const error = yield* request(`${server.url}/token`, { ca: { pem: authority.certificate } })
          assert.strictEqual(error._tag, "TokenTransportError")
          if (error._tag !== "TokenTransportError") return
          assert.strictEqual(error.code, code)
          assert.strictEqual(error.reason, "Connection")
          assert.isFalse(error.retryable)
          assert.include(error.message, advice)
          assert.strictEqual(server.made(), 1)
        }))
    }

    const versions = [
      ["TLSv1.3", "wants a client certificate and was shown none"],
      ["TLSv1.2", "often it wants a client certificate"]
    ] as const
    for (const [maxVersion, advice] of versions) {
      it.scopedLive(`without the client certificate that a server of ${maxVersion} wants: says so`, () =>
        Effect.gen(function*() {
          const authority = yield* Certificates.makeAuthority()
          const { certificate: cert, key } = yield* authority.server()
          const server = yield* listenTls({ cert, key, ca: authority.certificate, maxVersion })
          const error = yield* request(`${server.url}/token`, { ca: { pem: authority.certificate } })
          assert.include(error.message, advice)
          assert.isFalse(error.retryable)
          assert.strictEqual(server.made(), 1)
        }))
    }

    it.scopedLive("a failure that may pass is retryable as before", () =>
      Effect.gen(function*() {
        const { port } = yield* Effect.scoped(listenSilently)
        const error = yield* request(`https://127.0.0.1:${port}/token`)
        assert.strictEqual(error._tag === "TokenTransportError" && error.code, "ECONNREFUSED")
        assert.isTrue(error.retryable)
      }))
  })

  describe("times", () => {
    it.scopedLive("connectTimeout holds for TLS too", () =>
      Effect.gen(function*() {
        const { port } = yield* listenSilently
        const { httpClient } = yield* NodeBackchannel.make({ connectTimeout: "100 millis" })
        const error = yield* Effect.flip(httpClient.get(`https://127.0.0.1:${port}`)).pipe(Effect.timeout("5 seconds"))
        assert.strictEqual(codeOf(error), "UND_ERR_CONNECT_TIMEOUT")
      }))

    it.scopedLive("headersTimeout and bodyTimeout hold", () =>
      Effect.gen(function*() {
        const { ca, files, server } = yield* setUp((request, response) => {
          if (request.url === "/headers") return
          response.write("a part")
        })
        const { httpClient } = yield* NodeBackchannel.make({
          certificate: files,
          ca,
          headersTimeout: "100 millis",
          bodyTimeout: "100 millis"
        })
        const headers = yield* Effect.flip(text(httpClient, `${server.url}/headers`)).pipe(Effect.timeout("5 seconds"))
        assert.strictEqual(codeOf(headers), "UND_ERR_HEADERS_TIMEOUT")
        const body = yield* Effect.flip(text(httpClient, `${server.url}/body`)).pipe(Effect.timeout("5 seconds"))
        assert.strictEqual(codeOf(body), "UND_ERR_BODY_TIMEOUT")
      }))

    it.scopedLive("connections and keepAliveTimeout bound the pool", () =>
      Effect.gen(function*() {
        const { ca, files, server } = yield* setUp()
        const { httpClient } = yield* NodeBackchannel.make({
          certificate: files,
          ca,
          connections: 2,
          keepAliveTimeout: "100 millis"
        })
        yield* Effect.all(Array.from({ length: 20 }, () => text(httpClient, server.url)), { concurrency: "unbounded" })
        assert.strictEqual(server.made(), 2)
        yield* until(() => server.open() === 0)
      }))
  })

  describe("the end of its scope", () => {
    it.scopedLive("closes every socket, those of an earlier certificate too, requests under way or not", () =>
      Effect.gen(function*() {
        let held = 0
        const { authority, ca, files, folder, server } = yield* setUp((request, response) => {
          if (request.url === "/slow") return void held++
          response.end()
        })
        yield* Effect.scoped(Effect.gen(function*() {
          const { certificate, httpClient } = yield* NodeBackchannel.make({
            certificate: files,
            ca,
            checkEvery: "20 millis"
          })
          yield* Effect.forkDaemon(Effect.ignore(httpClient.get(`${server.url}/slow`)))
          yield* until(() => held === 1)
          const next = yield* authority.client()
          yield* issuedFiles(folder, next)
          yield* until(() => certificate!.thumbprint() === next.thumbprint)
          yield* Effect.forkDaemon(Effect.ignore(httpClient.get(`${server.url}/slow`)))
          yield* until(() => held === 2)
          yield* text(httpClient, server.url)
          assert.strictEqual(server.open(), 3)
        }))
        yield* until(() => server.open() === 0)
      }))
  })

  describe("a proxy", () => {
    const target = (server: { readonly port: number }) => `127.0.0.1:${server.port}`

    it.scopedLive("from the environment, in either case; the server behind it sees the client certificate", () =>
      Effect.gen(function*() {
        const warnings: Array<Error> = []
        const onWarning = (warning: Error) => void warnings.push(warning)
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("warning", onWarning)),
          () => Effect.sync(() => process.off("warning", onWarning))
        )
        const { ca, client, files, server } = yield* setUp()
        const proxy = yield* connectProxy
        const url = `http://127.0.0.1:${proxy.port}`
        const variables: ReadonlyArray<Record<string, string>> = [
          { HTTPS_PROXY: url },
          { https_proxy: url, HTTPS_PROXY: "http://127.0.0.1:1" },
          { https_proxy: "", HTTPS_PROXY: ` ${url} ` },
          { HTTP_PROXY: url },
          { HTTPS_PROXY: `127.0.0.1:${proxy.port}` },
          { HTTPS_PROXY: url, NO_PROXY: "example.org", no_proxy: "" }
        ]
        for (const [index, row] of variables.entries()) {
          const answer = yield* Effect.flatMap(Backchannel.Backchannel, (httpClient) => text(httpClient, server.url))
            .pipe(
              Effect.provide(NodeBackchannel.layer({ certificate: files, ca }).pipe(Layer.provide(environment(row))))
            )
          assert.strictEqual(answer, client.thumbprint)
          assert.strictEqual(proxy.asked.length, index + 1)
          assert.deepStrictEqual(proxy.asked[index], [target(server), undefined])
        }
        assert.deepStrictEqual(warnings, [])
      }))

    it.scopedLive("is left out for NO_PROXY, for proxy: false, and without variables", () =>
      Effect.gen(function*() {
        const { ca, client, files, server } = yield* setUp()
        const proxy = yield* connectProxy
        const url = `http://127.0.0.1:${proxy.port}`
        const rows: ReadonlyArray<readonly [Record<string, string>, NodeBackchannel.Options["proxy"]]> = [
          [{ HTTPS_PROXY: url, NO_PROXY: "example.org,127.0.0.1" }, undefined],
          [{ HTTPS_PROXY: url, no_proxy: "*" }, "environment"],
          [{ HTTPS_PROXY: url }, false],
          [{}, undefined]
        ]
        for (const [variables, setting] of rows) {
          const answer = yield* Effect.flatMap(Backchannel.Backchannel, (httpClient) => text(httpClient, server.url))
            .pipe(
              Effect.provide(
                NodeBackchannel.layer({ certificate: files, ca, proxy: setting }).pipe(
                  Layer.provide(environment(variables))
                )
              )
            )
          assert.strictEqual(answer, client.thumbprint)
        }
        assert.deepStrictEqual(proxy.asked, [])
      }))

    it.scopedLive("by its URL, with credentials; certificates behind it change as they do without; its sockets go", () =>
      Effect.gen(function*() {
        const { authority, ca, client, files, folder, server } = yield* setUp()
        const proxy = yield* connectProxy
        yield* Effect.scoped(Effect.gen(function*() {
          const { certificate, httpClient } = yield* NodeBackchannel.make({
            certificate: files,
            ca,
            proxy: Redacted.make(`http://worker:p%40ss@127.0.0.1:${proxy.port}`),
            checkEvery: "20 millis"
          })
          assert.strictEqual(yield* text(httpClient, server.url), client.thumbprint)
          assert.deepStrictEqual(proxy.asked, [
            [target(server), `Basic ${Buffer.from("worker:p@ss").toString("base64")}`]
          ])
          const next = yield* authority.client()
          yield* issuedFiles(folder, next)
          yield* until(() => certificate!.thumbprint() === next.thumbprint)
          assert.strictEqual(yield* text(httpClient, server.url), next.thumbprint)
        }))
        yield* until(() => server.open() === 0 && proxy.open() === 0)
      }))

    it.scopedLive("does not hide that the server behind it has the certificate of another host", () =>
      Effect.gen(function*() {
        const authority = yield* Certificates.makeAuthority()
        const { certificate: cert, key } = yield* authority.server({ dnsNames: ["as.example"], ip: ["192.0.2.1"] })
        const server = yield* listenTls({ cert, key })
        const proxy = yield* connectProxy
        const { httpClient } = yield* NodeBackchannel.make({
          ca: { pem: authority.certificate },
          proxy: new URL(`http://127.0.0.1:${proxy.port}`)
        })
        const error = yield* Effect.flip(httpClient.get(server.url))
        assert.strictEqual(codeOf(error), "ERR_TLS_CERT_ALTNAME_INVALID")
        assert.strictEqual(yield* text(httpClient, `https://as.example:${server.port}`), "none")
      }))

    it.scoped("that cannot be used is one clear error, without its password", () =>
      Effect.gen(function*() {
        const rows: ReadonlyArray<readonly [Record<string, string>, NodeBackchannel.Options["proxy"], string, string]> =
          [
            [{ HTTPS_PROXY: "http://u:5ecr3t@[" }, undefined, "HTTPS_PROXY", "found no URL"],
            [{ http_proxy: "socks5://u:5ecr3t@h" }, undefined, "http_proxy", "found a URL of another scheme"],
            [{}, Redacted.make("http://u:5ecr3t%@h"), "proxy", "not percent-encoded"],
            [{}, "ftp://u:5ecr3t@h", "proxy", "found a URL of another scheme"]
          ]
        for (const [variables, proxy, source, problem] of rows) {
          const error = yield* Effect.flip(
            Layer.build(NodeBackchannel.layer({ proxy }).pipe(Layer.provide(environment(variables))))
          )
          assert.strictEqual(error._tag === "ProxyError" && error.source, source)
          assert.include(error.message, problem)
          assert.isFalse(printed(error).includes("5ecr3t"))
        }
      }))
  })
})
