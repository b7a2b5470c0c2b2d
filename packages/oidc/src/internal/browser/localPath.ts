const maxLength = 2048

/** Nobody is asked there: the name cannot exist (RFC 2606 section 2). */
const base = "https://local.invalid"

// eslint-disable-next-line no-control-regex
const control = /[\x00-\x1f\x7f]/

/**
 * After the first slash another one, or a backslash, which browsers read as a slash: what follows would be a host. Browsers
 * do not decode an escape there, but servers and proxies that tidy up a path and redirect to it do.
 */
const doubled = /^\/(?:[/\\]|%2f|%5c)/i

/**
 * @internal Where to go after a login: path, query and fragment within this site, in the form that WHATWG's URL gives them;
 * nothing where a browser, or a URL resolved against this site, could read another origin out of it.
 */
export const localPath = (value: unknown): string | undefined => {
  if (typeof value !== "string" || value.length > maxLength || control.test(value)) return undefined
  if (!value.startsWith("/") || doubled.test(value) || !URL.canParse(value, base)) return undefined
  const { hash, origin, pathname, search } = new URL(value, base)
  // "/..//evil" has become "//evil" only now.
  if (origin !== base || doubled.test(pathname)) return undefined
  const path = `${pathname}${search}${hash}`.replaceAll("\\", "%5C")
  return path.length > maxLength ? undefined : path
}
