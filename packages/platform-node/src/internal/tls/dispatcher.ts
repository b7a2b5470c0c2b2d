import * as Undici from "@effect/platform-node/Undici"
import type { SecureContext } from "node:tls"
import { codeOf } from "../secretFile.ts"
import type { Proxy } from "./proxy.ts"

/** @internal All times in milliseconds, as undici takes them: 0 is never. */
export interface Settings {
  readonly proxy: Proxy
  readonly connections: number | undefined
  readonly connectTimeout: number | undefined
  readonly headersTimeout: number | undefined
  readonly bodyTimeout: number | undefined
  readonly keepAliveTimeout: number | undefined
}

const defined = <A extends object>(options: A): Partial<{ [K in keyof A]: Exclude<A[K], undefined> }> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never

/**
 * With TLS 1.3 a server refuses a client certificate after the handshake, by an alert and the end of the connection. Undici
 * would tell of the latter only.
 */
const tellingAlerts = (connect: Undici.Pool.Options["connect"]): Undici.buildConnector.connector => {
  const connector = typeof connect === "function" ? connect : Undici.buildConnector(connect ?? {})
  return (options, callback) =>
    connector(options, (...[error, socket]) => {
      if (error !== null) return callback(error, null)
      socket.on("error", (error) => {
        if (codeOf(error).startsWith("ERR_SSL_")) socket.destroy(error)
      })
      callback(null, socket)
    })
}

/** The connections of one agent. A closed agent of undici forgets them, whether they are done or not. */
class Pools {
  readonly #pools = new Set<Undici.Pool>()

  readonly make = (origin: string | URL, options: Undici.Pool.Options): Undici.Dispatcher => {
    for (const pool of this.#pools) if (pool.destroyed) this.#pools.delete(pool)
    const pool = new Undici.Pool(origin, { ...options, connect: tellingAlerts(options.connect) })
    this.#pools.add(pool)
    return pool
  }

  readonly destroy = () => Promise.all(Array.from(this.#pools, (pool) => pool.destroy()))
}

const makeDispatcher = (
  settings: Settings,
  secureContext: SecureContext | undefined,
  factory: Pools["make"]
): Undici.Dispatcher => {
  const { connections, connectTimeout, keepAliveTimeout, proxy } = settings
  const toServer = defined({ timeout: connectTimeout, secureContext })
  const common = { ...defined({ connections, keepAliveTimeout }), connect: toServer, factory }
  // The client certificate is for the server at the end of the tunnel. A proxy is checked by Node's own authorities.
  const proxied = { ...common, requestTls: toServer, proxyTls: defined({ timeout: connectTimeout }) }
  switch (proxy._tag) {
    case "None":
      return new Undici.Agent(common)
    case "Fixed":
      return new Undici.ProxyAgent({ ...proxied, uri: proxy.url })
    case "ByScheme":
      // Texts for all three, empty ones too, or undici looks into the environment by itself.
      return new Undici.EnvHttpProxyAgent({
        ...proxied,
        httpProxy: proxy.http,
        httpsProxy: proxy.https,
        noProxy: proxy.exceptions
      })
  }
}

interface Agent {
  readonly dispatcher: Undici.Dispatcher
  readonly destroy: () => Promise<unknown>
}

const makeAgent = (settings: Settings, secureContext: SecureContext | undefined): Agent => {
  const pools = new Pools()
  const dispatcher = makeDispatcher(settings, secureContext, pools.make)
  return { dispatcher, destroy: () => Promise.all([dispatcher.destroy(), pools.destroy()]) }
}

/** @internal Stays the same while the agent behind it is replaced. */
export class ReplaceableDispatcher extends Undici.Dispatcher {
  readonly #settings: Settings
  readonly #closing = new Set<Agent>()
  readonly #timeouts: Pick<Undici.Dispatcher.DispatchOptions, "bodyTimeout" | "headersTimeout">
  #current: Agent

  constructor(settings: Settings, secureContext: SecureContext | undefined) {
    super()
    const { bodyTimeout, headersTimeout } = settings
    this.#settings = settings
    this.#timeouts = defined({ bodyTimeout, headersTimeout })
    this.#current = makeAgent(settings, secureContext)
  }

  override dispatch(
    options: Undici.Dispatcher.DispatchOptions,
    handler: Undici.Dispatcher.DispatchHandler
  ): boolean {
    // The platform's client sets these two on each request, to leave them to Effect.
    return this.#current.dispatcher.dispatch({ ...options, ...this.#timeouts }, handler)
  }

  /** New requests go by a new agent; those under way end with the old one. */
  replace(secureContext: SecureContext | undefined): void {
    const old = this.#current
    this.#current = makeAgent(this.#settings, secureContext)
    this.#closing.add(old)
    const gone = () => void this.#closing.delete(old)
    // It fails if the scope ended first.
    old.dispatcher.close().then(gone, gone)
  }

  /** Ends every connection at once. */
  async end(): Promise<void> {
    await Promise.all([this.#current, ...this.#closing].map((agent) => agent.destroy()))
  }
}
