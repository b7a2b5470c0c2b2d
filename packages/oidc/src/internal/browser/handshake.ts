/** @internal */
export interface Request {
  readonly method: string
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** Of 16 bytes. */
const key = /^[A-Za-z0-9+/]{22}==$/

const token = /^[!#$%&'*+.^_`|~\w-]+$/

const ascii = /^[\t\x20-\x7e]*$/

/** Names, none of them twice. In ASCII, `trim` takes off what HTTP takes for space. */
const areProtocols = (header: string): boolean => {
  const names = header.split(",").map((name) => name.trim())
  return ascii.test(header) && names.every((name) => token.test(name)) && new Set(names).size === names.length
}

/**
 * @internal Whether the request opens a WebSocket (RFC 6455 section 4.2.1). Where it does not, whoever is asked for the upgrade
 * may answer by itself, and its caller waits for ever.
 */
export const isHandshake = ({ headers, method }: Request): boolean =>
  method === "GET" &&
  headers["upgrade"]?.toLowerCase() === "websocket" &&
  headers["sec-websocket-version"] === "13" &&
  key.test(headers["sec-websocket-key"] ?? "") &&
  areProtocols(headers["sec-websocket-protocol"] ?? "none")
