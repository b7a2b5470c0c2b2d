/**
 * @internal The `htu` of a proof: the URL without query and fragment, scheme and host in lower case, no default port, dot
 * segments resolved, percent-escapes as they are sent (RFC 9449 section 4.2, RFC 3986 section 6.2). `undefined` for a URL
 * that is not absolute.
 */
export const htuOf = (url: string): string | undefined => {
  if (!URL.canParse(url)) return undefined
  const { host, pathname, protocol } = new URL(url)
  return `${protocol}//${host}${pathname}`
}
