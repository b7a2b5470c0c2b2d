import * as UntrustedText from "../UntrustedText.ts"

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|[^.]+(?:\.[^.]+)*\.localhost)$/

/** @internal Hosts that never leave the machine, for which `http:` is harmless (RFC 8252 section 8.3). */
export const isLoopback = (url: URL): boolean => loopback.test(url.hostname)

/** @internal */
export const isOrigin = (value: string): boolean => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  return url !== undefined && (url.protocol === "https:" || url.protocol === "http:") &&
    (value === url.origin || value === `${url.origin}/`)
}

/** @internal What may be shown of a URL in an error, a log or a span: no user name, password, query or fragment. */
export const shown = (url: URL): string => UntrustedText.show(`${url.origin}${url.pathname}`)

/**
 * @internal Whether metadata of `issuer` may name it: a server that is elsewhere must not send secrets to this machine over plain
 * `http:`.
 */
export const isEndpointOf = (url: URL, issuer: URL, allowInsecure: boolean): boolean =>
  insecure(url, allowInsecure) === undefined && (url.protocol === "https:" || allowInsecure || isLoopback(issuer))

/** @internal Why a secret must not be sent to this URL, or `undefined` where it may. */
export const insecure = (url: URL, allowInsecure: boolean): string | undefined => {
  if (url.protocol === "https:") return undefined
  if (url.protocol !== "http:") return "expected an https: URL"
  return allowInsecure || isLoopback(url)
    ? undefined
    : "expected an https: URL (http: is accepted on loopback only, elsewhere set allowInsecure: true)"
}
