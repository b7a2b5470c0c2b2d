/** What the routes know of this installation. */
import { Context } from "effect"

/** A way to sign in. */
export interface Provider {
  /** Of the registration, see `OidcClients`. */
  readonly client: string
  /** For people. */
  readonly title: string
  readonly issuer: string
}

/** An API, by its address, which is the resource that tokens are asked for as well (RFC 8707). */
export interface Api {
  readonly title: string
  readonly url: string
}

export class Site extends Context.Tag("examples/web/Site")<Site, {
  readonly providers: ReadonlyArray<Provider>
  readonly invoices: Api
  readonly reports: Api
  /** What is switched on, in a few words each. */
  readonly notes: ReadonlyArray<string>
}>() {}
