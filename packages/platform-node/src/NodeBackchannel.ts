/**
 * The way to authorization servers over undici: its own pool of keep-alive connections, a client certificate for mutual
 * TLS (RFC 8705), authorities to trust, a proxy. Certificates in files are read again when the files change, without a
 * restart.
 *
 * @since 0.1.0
 */
import { Backchannel } from "@effect-oauth/core/Backchannel"
import { ClientCertificate } from "@effect-oauth/core/ClientCertificate"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ConfigFields from "./internal/configFields.ts"
import { ReplaceableDispatcher, type Settings } from "./internal/tls/dispatcher.ts"
import * as Proxy from "./internal/tls/proxy.ts"
import * as TlsMaterial from "./internal/tls/tlsMaterial.ts"

/**
 * A certificate or a key that cannot be used, found when the Layer is built. `problem` says what was found, what is
 * expected and what to do, and shows nothing of the content.
 *
 * @since 0.1.0
 * @category errors
 */
export class CertificateError
  extends Schema.TaggedError<CertificateError>("@effect-oauth/platform-node/CertificateError")("CertificateError", {
    field: Schema.Literal("certificate", "key", "passphrase", "ca"),
    /** Absent where it did not come from a file. */
    file: Schema.optional(Schema.String),
    problem: Schema.String
  })
{
  override get message(): string {
    return `backchannel, ${this.field}${this.file === undefined ? "" : ` ${this.file}`}: ${this.problem}`
  }
}

/**
 * A proxy that cannot be used. `source` is `proxy` or the name of an environment variable; its value may hold a password and
 * is not shown.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProxyError extends Schema.TaggedError<ProxyError>("@effect-oauth/platform-node/ProxyError")("ProxyError", {
  source: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `backchannel, ${this.source}: ${this.problem}`
  }
}

/**
 * PEM in a file, which is read again when it changes, or as a text.
 *
 * @since 0.1.0
 * @category models
 */
export type PemSource = { readonly file: string } | { readonly pem: string | Redacted.Redacted<string> }

/**
 * The client certificate for mutual TLS (RFC 8705).
 *
 * - `certificate`: it, followed by those between it and the authority, if there are any.
 * - `key`: its private key. A file that group or others can read or write is refused, but for Windows.
 * - `passphrase`: of an encrypted key.
 *
 * @since 0.1.0
 * @category models
 */
export interface CertificateOptions {
  readonly certificate: PemSource
  readonly key: PemSource
  readonly passphrase?: Redacted.Redacted<string> | undefined
}

/**
 * - `certificate`: shown to servers that ask for one. Default none.
 * - `ca`: the authorities that servers are trusted by, instead of those that Node brings along. Default Node's, and those of
 *   `NODE_EXTRA_CA_CERTS`.
 * - `connections`: how many there may be to one origin. Default as many as there are requests at once.
 * - `connectTimeout`: for TCP and TLS together. Default 10 seconds.
 * - `headersTimeout`, `bodyTimeout`: how long to wait for the answer to begin, and between two parts of it. Default without
 *   end: the requests for tokens have a `timeout` of their own.
 * - `keepAliveTimeout`: how long an idle connection is kept, unless the server says so. Default 4 seconds.
 * - `proxy`: `"environment"`, the default, is `HTTP_PROXY`, `HTTPS_PROXY` (`HTTP_PROXY` where it is not set) and `NO_PROXY`,
 *   in either case, by `Config`, when the Layer is built. TLS goes through the proxy to the server, with `certificate` and
 *   `ca`; the proxy itself is trusted by Node's authorities. `false` is none.
 * - `checkEvery`: how often files are looked at. Default 30 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly certificate?: CertificateOptions | undefined
  readonly ca?: PemSource | undefined
  readonly connections?: number | undefined
  readonly connectTimeout?: Duration.DurationInput | undefined
  readonly headersTimeout?: Duration.DurationInput | undefined
  readonly bodyTimeout?: Duration.DurationInput | undefined
  readonly keepAliveTimeout?: Duration.DurationInput | undefined
  readonly proxy?: "environment" | URL | string | Redacted.Redacted<string> | false | undefined
  readonly checkEvery?: Duration.DurationInput | undefined
}

/** In undici's words: 0 is never. */
const timeout = (duration: Duration.DurationInput | undefined): number | undefined => {
  if (duration === undefined) return undefined
  const millis = Math.ceil(Duration.toMillis(duration))
  return Number.isFinite(millis) ? Math.max(1, millis) : 0
}

const longestTimer = 2 ** 31 - 1

const settingsOf = (options: Options, proxy: Proxy.Proxy): Settings => ({
  proxy,
  connections: options.connections,
  connectTimeout: timeout(options.connectTimeout),
  headersTimeout: timeout(options.headersTimeout),
  bodyTimeout: timeout(options.bodyTimeout),
  keepAliveTimeout: options.keepAliveTimeout === undefined
    ? undefined
    : Math.min(Math.max(1, Duration.toMillis(options.keepAliveTimeout)), longestTimer)
})

/**
 * - `httpClient`: the one for `Backchannel`; it stays the same when its certificate changes.
 * - `certificate`: the one for `ClientCertificate`, if there is a client certificate.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeBackchannel {
  readonly httpClient: HttpClient.HttpClient
  readonly certificate: ClientCertificate["Type"] | undefined
}

/**
 * The end of the scope closes all connections.
 *
 * When a file changes, new requests show the new certificate and trust the new authorities, and those under way end as they
 * began. Files that do not fit together, half of them being written for instance, change nothing; a warning says so once.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<NodeBackchannel, CertificateError | ProxyError, Scope.Scope> =>
  Effect.gen(function*() {
    const proxy = yield* Effect.mapError(Proxy.resolve(options.proxy), (problem) => new ProxyError(problem))
    const first = yield* Effect.mapError(TlsMaterial.load(options), (problem) => new CertificateError(problem))
    const settings = settingsOf(options, proxy)
    const dispatcher = yield* Effect.acquireRelease(
      Effect.sync(() => new ReplaceableDispatcher(settings, first.material.secureContext)),
      (dispatcher) => Effect.promise(() => dispatcher.end())
    )
    const current = yield* TlsMaterial.follow(options, first, {
      every: options.checkEvery ?? "30 seconds",
      describe: (problem) => new CertificateError(problem).message,
      onChange: ({ secureContext }) => dispatcher.replace(secureContext)
    })
    return {
      httpClient: NodeHttpClient.makeUndici(dispatcher),
      certificate: first.material.client === undefined
        ? undefined
        : { thumbprint: () => current().client!.thumbprint }
    }
  })

type WithCertificate<A> = A & { readonly certificate: {} }

type Provided = Backchannel | ClientCertificate

const contextOf = ({ certificate, httpClient }: NodeBackchannel): Context.Context<Provided> => {
  const context = Context.make(Backchannel, httpClient)
  // Whoever wants it asks whether it is there; the types promise it only where a certificate is given.
  if (certificate === undefined) return context as Context.Context<Provided>
  return Context.add(context, ClientCertificate, certificate)
}

/**
 * The `Backchannel`, and the `ClientCertificate` where the options have a certificate.
 *
 * @example
 * ```ts
 * import { NodeBackchannel, NodeOAuth } from "@effect-oauth/platform-node"
 * import { Layer } from "effect"
 *
 * export const MainLive = NodeOAuth.layer.pipe(
 *   Layer.provide(NodeBackchannel.layer({
 *     certificate: { certificate: { file: "/run/tls/client.pem" }, key: { file: "/run/tls/client.key" } },
 *     ca: { file: "/run/tls/ca.pem" }
 *   }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: {
  (options: WithCertificate<Options>): Layer.Layer<Provided, CertificateError | ProxyError>
  (options?: Options): Layer.Layer<Backchannel, CertificateError | ProxyError>
} = (options?: Options): Layer.Layer<Provided, CertificateError | ProxyError> =>
  Layer.scopedContext(Effect.map(make(options), contextOf))

/**
 * A value, or a `Config` of it. A `Config.option` that is absent counts as a field that is left out.
 *
 * @since 0.1.0
 * @category models
 */
export type Field<A> =
  | A
  | Config.Config<A>
  | (undefined extends A ? Config.Config<Option.Option<NonNullable<A>>> : never)

/**
 * @since 0.1.0
 * @category models
 */
export type CertificateConfig = { readonly [K in keyof CertificateOptions]: Field<CertificateOptions[K]> }

/**
 * `Options` whose fields may each be a `Config`.
 *
 * @since 0.1.0
 * @category models
 */
export type OptionsConfig =
  & { readonly [K in keyof Omit<Options, "certificate">]: Field<Options[K]> }
  & { readonly certificate?: CertificateConfig | Config.Config<CertificateOptions> | undefined }

const readOptions = (config: OptionsConfig): Config.Config<Options> => {
  const { certificate, ...rest } = config
  const read = certificate === undefined || Config.isConfig(certificate)
    ? ConfigFields.readField(certificate)
    : ConfigFields.readFields(certificate)
  return Config.map(
    Config.all([read, ConfigFields.readFields(rest)]),
    ([certificate, rest]) => ({ ...rest, certificate }) as Options
  )
}

/**
 * The same, its fields by configuration. `file` and `pem` make a `PemSource` of what a variable holds.
 *
 * @example
 * ```ts
 * import { NodeBackchannel } from "@effect-oauth/platform-node"
 * import { Config } from "effect"
 *
 * export const Backchannel = NodeBackchannel.layerConfig({
 *   certificate: {
 *     certificate: Config.map(Config.string("TLS_CERTIFICATE_FILE"), NodeBackchannel.file),
 *     key: Config.map(Config.string("TLS_KEY_FILE"), NodeBackchannel.file),
 *     passphrase: Config.option(Config.redacted("TLS_PASSPHRASE"))
 *   },
 *   connectTimeout: "5 seconds"
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: {
  (
    config: WithCertificate<OptionsConfig>
  ): Layer.Layer<Provided, CertificateError | ProxyError | ConfigError.ConfigError>
  (
    config: OptionsConfig | Config.Config<Options>
  ): Layer.Layer<Backchannel, CertificateError | ProxyError | ConfigError.ConfigError>
} = (
  config: OptionsConfig | Config.Config<Options>
): Layer.Layer<Provided, CertificateError | ProxyError | ConfigError.ConfigError> =>
  Layer.scopedContext(
    Effect.map(Effect.flatMap(Config.isConfig(config) ? config : readOptions(config), make), contextOf)
  )

/**
 * PEM in a file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const file = (file: string): PemSource => ({ file })

/**
 * PEM as a text, `Redacted` if it is a key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const pem = (pem: string | Redacted.Redacted<string>): PemSource => ({ pem })

/**
 * The `Backchannel` as the program's `HttpClient`, for APIs that want the same client certificate, as those do that take
 * tokens bound to it (RFC 8705 section 3).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient, never, Backchannel> = Layer.fresh(
  Layer.effect(HttpClient.HttpClient, Backchannel)
)
