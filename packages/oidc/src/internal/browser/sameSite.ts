/** @internal */
export interface Request {
  readonly method: string
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

/**
 * @internal Why the headers of a request must not be believed to be of a page of this site, or `undefined`. `origin` is the
 * site's own, as browsers write it.
 *
 * Browsers set both headers themselves, and no page can change them. `same-site` is refused, since a neighbouring subdomain
 * is somebody else, and `none` as well: address bars and bookmarks send `GET` only, so a `POST` with it is of no page of
 * ours. A request with neither header is of no browser that can be judged.
 */
export const foreignProblem = ({ headers }: Pick<Request, "headers">, origin: string): string | undefined => {
  const site = headers["sec-fetch-site"]
  const from = headers["origin"]
  if (site !== undefined && site !== "same-origin") return "its Sec-Fetch-Site is not same-origin"
  // A page with Referrer-Policy: no-referrer sends null to its own site too; one in a sandbox is cross-site.
  if (from === "null" && site === undefined) return "its Origin is null, and it has no Sec-Fetch-Site"
  if (from !== undefined && from !== "null" && from !== origin) return "its Origin is not that of this site"
  return site === undefined && from === undefined ? "it has neither Sec-Fetch-Site nor Origin" : undefined
}

/** @internal The same of a form, which changes something by `POST` only. */
export const crossSiteProblem = (request: Request, origin: string): string | undefined =>
  request.method === "POST" ? foreignProblem(request, origin) : "its method is not POST"
