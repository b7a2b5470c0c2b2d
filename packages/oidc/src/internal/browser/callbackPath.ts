/**
 * The paths that logins come back to, as a router reads them.
 */

/** @internal Two paths with the same text are one route: letter case, escapes and repeated slashes do not tell them apart. */
export const plainPath = (address: string): string =>
  decodedPath(address).toLowerCase().replace(/\/{2,}/g, "/").replace(/\/$/, "")

const decodedPath = (address: string): string =>
  (address.split(/[?#]/, 1)[0] ?? "").replace(
    /%[0-7][0-9a-f]/gi,
    (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16))
  )

/** Without what servers and proxies take out of a path: dot segments, backslashes, repeated slashes, spaces at its end. */
const tidy = (path: string): string =>
  plainPath(new URL(`http://localhost/${path.trim().replace(/[\\/]+/g, "/")}`).pathname)

/** As it is, and without path parameters, which end a path or one segment of it. */
const readingsOf = (address: string): ReadonlyArray<string> => {
  const path = decodedPath(address)
  return [path, path.replace(/[;?#][^]*$/, ""), path.replace(/;[^/]*/g, "")].map(tidy)
}

const parameter = /\/:client(?=\/|$)/

/** Routers read no longer parameters. */
const longest = 100

/** Also what has a meaning in a route. */
const encoded = (name: string): string =>
  encodeURIComponent(name).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  )

const isNameable = (name: string): boolean =>
  !/^\.{0,2}$/.test(name) && !/[\ud800-\udfff]/u.test(name) && name.length <= longest

/** @internal Whether each client has a path of its own there. */
export const isTemplate = (path: string): boolean => parameter.test(path)

/** @internal With the client's name in place of `:client`; `undefined` for a name that cannot be part of a path. */
export const ofClient = (path: string, name: string): string | undefined => {
  if (!isTemplate(path)) return path
  return isNameable(name) ? path.replace(parameter, () => `/${encoded(name)}`) : undefined
}

/**
 * @internal Whether a request at this address is for the route, or may be taken for it by somebody on the way: what is
 * decided by this is left out of the log.
 */
export const isAt = (path: string): (address: string) => boolean => {
  const [start = "", end] = path.split(parameter).map(tidy)
  const isRoute = end === undefined
    ? (reading: string) => start === "" ? reading === "" : reading.endsWith(start)
    : (reading: string) => reading.includes(`${start}/`) && reading.endsWith(end)
  return (address) => readingsOf(address).some(isRoute)
}

/** @internal Whether a redirect URI is that of a route. */
export const isAddressOf = (redirectUri: string, path: string, publicUrl: URL): boolean => {
  if (!path.startsWith("/") || !URL.canParse(path, publicUrl)) return false
  const { origin, pathname } = new URL(path, publicUrl)
  return redirectUri === `${origin}${pathname}`
}
