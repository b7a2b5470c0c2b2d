/**
 * A proof of possession by ES256, and a call that carries one, over HTTP on loopback.
 */
import { AccessToken } from "@effect-oauth/core/AccessToken"
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import * as DPoPNonceStore from "@effect-oauth/core/DPoPNonceStore"
import * as DPoPProofs from "@effect-oauth/core/DPoPProofs"
import { TokenType } from "@effect-oauth/core/OAuthValues"
import * as SigningKey from "@effect-oauth/core/SigningKey"
import * as NodeSigner from "@effect-oauth/platform-node/NodeSigner"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as dpop from "dpop"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import * as crypto from "node:crypto"
import * as oauth from "oauth4webapi"
import * as Api from "./apiProcess.ts"
import { measure, repeat, repeatPromise } from "./measure.ts"
import * as Ours from "./ours.ts"
import { ratioRow, type Row, times } from "./table.ts"

const url = "https://api.example.com/invoices"

/** One key, in the form in which each of them wants it. */
const keys = Effect.gen(function*() {
  const pair = yield* Effect.promise(() => jose.generateKeyPair("ES256"))
  return {
    pair,
    own: yield* SigningKey.fromKeyPair(pair, "ES256"),
    publicJwk: yield* Effect.promise(() => jose.exportJWK(pair.publicKey)),
    raw: {
      key: crypto.KeyObject.from(pair.privateKey as crypto.webcrypto.CryptoKey),
      dsaEncoding: "ieee-p1363"
    } as const
  }
})

type Keys = Effect.Effect.Success<typeof keys>

/** As long as what is signed for a proof. */
const signingInput = (proof: string): Buffer => Buffer.from(proof.slice(0, proof.lastIndexOf(".")))

const tokenOf = (own: SigningKey.SigningKey) =>
  new AccessToken({
    value: Redacted.make(Ours.opaque(1)),
    type: Schema.decodeSync(TokenType)("DPoP"),
    clientName: "client.0",
    obtainedAt: DateTime.unsafeMake(0),
    keyThumbprint: own.thumbprint
  })

const joseProof = ({ pair, publicJwk }: Keys, ath: string) =>
  new jose.SignJWT({ htm: "GET", htu: url, ath, jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk: publicJwk })
    .setIssuedAt()
    .sign(pair.privateKey)

const proof = Effect.gen(function*() {
  const all = yield* keys
  const proofs = yield* DPoPProofs.DPoPProofs
  const { value: accessToken } = tokenOf(all.own)
  const ours = proofs.proof({ key: all.own, method: "GET", url, accessToken, nonce: "nonce" })
  const input = signingInput(Redacted.value(yield* ours))
  const ath = crypto.createHash("sha256").update(Redacted.value(accessToken)).digest("base64url")
  const result = yield* measure([
    { name: "raw", batch: repeat(() => Effect.sync(() => crypto.sign("sha256", input, all.raw))) },
    { name: "ours", floor: "raw", batch: repeat(() => ours) },
    {
      name: "dpop",
      floor: "ours",
      batch: repeatPromise(() =>
        dpop.generateProof(all.pair as dpop.KeyPair, url, "GET", "nonce", Redacted.value(accessToken))
      )
    },
    { name: "jose", floor: "ours", batch: repeatPromise(() => joseProof(all, ath)) }
  ])
  const peers = `the dpop package takes ${times(result("dpop").ratio)} of ours (goal: 5x), ` +
    `jose's SignJWT ${times(result("jose").ratio)} (goal: 2x)`
  return ratioRow("DPoP proof, ES256, NodeSigner; floor: one crypto.sign", result("ours"), result("raw"), 1.25, peers)
})

const call = Effect.gen(function*() {
  const all = yield* keys
  const api = yield* Api.start
  const undici = yield* HttpClient.HttpClient
  const proofs = yield* DPoPProofs.DPoPProofs
  const token = yield* proofs.bind(tokenOf(all.own), all.own)
  const ours = undici.pipe(AccessTokenHttpClient.make(() => Effect.succeed(token)))
  const constant = Redacted.value(
    yield* proofs.proof({ key: all.own, method: "GET", url: api.url, accessToken: token.value })
  )
  const input = signingInput(constant)
  const headers = { authorization: `DPoP ${Redacted.value(token.value)}`, dpop: constant }
  const signed = undici.pipe(HttpClient.mapRequest((request) => {
    crypto.sign("sha256", input, all.raw)
    return HttpClientRequest.setHeaders(request, headers)
  }))

  const read = <E>(client: HttpClient.HttpClient.With<E>) =>
    repeat(() => Effect.flatMap(client.get(api.url), ({ text }) => text))
  const handle = oauth.DPoP({}, all.pair as oauth.CryptoKeyPair)
  const resource = () =>
    oauth.protectedResourceRequest(Redacted.value(token.value), "GET", new URL(api.url), undefined, undefined, {
      DPoP: handle,
      [oauth.allowInsecureRequests]: true
    })
  const result = yield* measure([
    { name: "signed", batch: read(signed) },
    { name: "ours", floor: "signed", batch: read(ours) },
    { name: "fetch", batch: repeatPromise(() => fetch(api.url, { headers }).then((response) => response.text())) },
    { name: "oauth4webapi", floor: "fetch", batch: repeatPromise(() => resource().then((response) => response.text())) }
  ], { batchTime: 5 })
  return ratioRow(
    "DPoP call, loopback HTTP (undici); floor: one crypto.sign and constant headers",
    result("ours"),
    result("signed"),
    1.15,
    `oauth4webapi ${times(result("oauth4webapi").ratio)} of a plain fetch`
  )
}).pipe(Effect.scoped)

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.all([proof, call]).pipe(
  Effect.provide(Layer.mergeAll(
    DPoPProofs.layer.pipe(Layer.provide(Layer.merge(NodeSigner.layer, DPoPNonceStore.layer()))),
    NodeHttpClient.layerUndici
  )),
  Effect.orDie
)
