/** The servers that the worker has to do with, and what is to be seen of it. */
import { NodeBackchannel } from "@effect-oauth/platform-node"
import { type Headers, HttpClient } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { ConfigProvider, Effect, Logger, Redacted } from "effect"
import * as Certificates from "../servers/certificates.ts"
import * as MtlsApi from "../servers/mtlsApi.ts"
import * as MtlsAuthorizationServer from "../servers/mtlsAuthorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import * as CertificateFiles from "./certificateFiles.ts"
import { present } from "./present.ts"

const clientId = "invoice.client"

const setUp = Effect.gen(function*() {
  const authority = yield* Certificates.makeAuthority()
  const certificate = yield* authority.server()
  const server = yield* MtlsAuthorizationServer.start({
    certificate,
    authority,
    clients: [{
      client_id: clientId,
      scope: "invoices",
      token_endpoint_auth_method: "tls_client_auth",
      tls_client_auth_subject_dn: `CN=${clientId}`,
      tls_client_certificate_bound_access_tokens: true
    }]
  })
  // what somebody who reads the API's log would have
  let token = Redacted.make("")
  const onRequest = ({ authorization = "" }: Headers.Headers) => {
    token = Redacted.make(authorization.replace(/^Bearer /, ""))
  }
  const { httpClient } = yield* NodeBackchannel.make({ ca: { pem: authority.certificate }, proxy: false })
  const api = yield* MtlsApi.start({ certificate, authority, issuer: server, onRequest }).pipe(
    Effect.provideService(HttpClient.HttpClient, httpClient)
  )
  const files = yield* CertificateFiles.make(authority, clientId)
  return {
    authority,
    server,
    api,
    files,
    newestToken: () => token,
    telling: yield* Telling.make,
    /** What the worker says itself. */
    logged: [] as Array<string>,
    /** What the API answered to those who used the worker's token in another way. */
    attempts: [] as Array<number>
  }
})

type Scene = Effect.Effect.Success<typeof setUp>

const settings = ({ api, files, server }: Scene) =>
  ConfigProvider.fromMap(
    new Map([
      ["ISSUER", server.issuer],
      ["CLIENT_ID", clientId],
      ["API_URL", api.url],
      ["TLS_CERTIFICATE", files.certificate],
      ["TLS_KEY", files.key],
      ["TLS_CA", files.ca]
    ])
  )

const answered = ({ api }: Scene): number => api.requests().filter(({ status }) => status === 200).length

const tokenRequests = ({ server }: Scene) => server.requests().filter(({ path }) => path === "/token")

/** Waits for further calls of the worker. */
const calls = (scene: Scene, count: number) =>
  Effect.suspend(() => {
    const before = answered(scene)
    return Telling.until(() => answered(scene) >= before + count)
  })

const tellCalls = (scene: Scene) => scene.telling.line("the worker's calls", `${answered(scene)} answered 200 so far`)

const tellToken = (scene: Scene, index: number) =>
  Effect.gen(function*() {
    const { server, telling: { line } } = scene
    yield* line("POST /token, by certificate", tokenRequests(scene)[index]?.status)
    yield* line("bound to the certificate", server.bindings()[index])
  })

/** The same token, sent in another way than the worker does. */
const attempt = (scene: Scene, how: string, token: Redacted.Redacted<string>, certificate?: Certificates.Issued) =>
  Effect.gen(function*() {
    const { api, attempts, authority, telling } = scene
    const { reason, status } = yield* present(`${api.url}/invoices`, token, { authority, certificate })
    attempts.push(status)
    yield* telling.line(how, `${status} ${reason}`)
  })

const firstToken = (scene: Scene) =>
  Effect.gen(function*() {
    const { authority, newestToken, server, telling: { line, step } } = scene
    yield* step("The server has a port that asks for certificates, and says so in its metadata.")
    yield* line("token_endpoint", server.tokenEndpoint)
    yield* line("mtls_endpoint_aliases", server.tokenEndpointAlias)
    yield* line("what it knows of the client", `tls_client_auth, CN=${clientId}`)

    yield* step("The first token.")
    yield* calls(scene, 3)
    yield* tellToken(scene, 0)

    yield* step("The API looks at the token and at the certificate of the connection.")
    const token = newestToken()
    const other = yield* authority.client({ commonName: "somebody.else" })
    yield* tellCalls(scene)
    yield* attempt(scene, "its token without a certificate", token)
    yield* attempt(scene, "its token, another certificate", token, other)
    return token
  })

const otherCertificate = (scene: Scene, old: Redacted.Redacted<string>) =>
  Effect.gen(function*() {
    const { api, files, logged, telling: { line, step } } = scene
    yield* step("Another certificate is written into the files. The worker goes on without a restart.")
    const next = yield* files.renew
    yield* Telling.until(() => api.certificates().includes(next.thumbprint))
    yield* calls(scene, 3)
    for (const message of logged) yield* line("the worker's log", message)
    yield* tellToken(scene, 1)
    yield* tellCalls(scene)
    yield* attempt(scene, "the old token, new certificate", old, next)
    return next.thumbprint
  })

const endOf = (scene: Scene, certificate: string) =>
  Effect.gen(function*() {
    const { api, attempts, server, telling: { end, heading, line } } = scene
    const requests = tokenRequests(scene)
    const calls = api.requests().length - attempts.length
    const refused = calls - answered(scene)
    const secrets = requests.filter(({ fields }) => fields.some((field) => /secret|assertion/.test(field))).length
    yield* heading("Totals")
    yield* line("requests for tokens", `${requests.length}, ${secrets} with a secret`)
    yield* line("the worker's calls", `${calls}, ${refused} refused`)

    const [first, second, ...others] = server.bindings()
    yield* end([
      [
        requests.length === 2 && requests.every(({ status }) => status === 200),
        "two requests for tokens, both answered"
      ],
      [secrets === 0, "no secret in any request"],
      [first !== undefined && second === certificate && others.length === 0, "one token for each certificate"],
      [api.certificates().join() === `${first},${second}`, "the API accepts each token with its certificate"],
      [
        attempts.length === 3 && attempts.every((status) => status === 401),
        "no token is accepted without its certificate"
      ],
      [refused === 0, "the worker itself is never refused"]
    ])
  })

/** Runs the worker beside it; fails if something did not happen as it should. */
export const run = <E>(worker: Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const scene = yield* setUp
    const { logged, telling } = scene
    yield* telling.title("A worker is known by its certificate, and its tokens are bound to it. This takes 2 seconds.")
    const story = Effect.gen(function*() {
      const old = yield* firstToken(scene)
      const certificate = yield* otherCertificate(scene, old)
      yield* endOf(scene, certificate)
    })
    yield* worker.pipe(
      Effect.withConfigProvider(settings(scene)),
      Effect.provide(Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => void logged.push(String(message)))
      )),
      Effect.raceFirst(story)
    )
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer), Telling.reported)
