/**
 * What this library counts, in `effect/Metric`. Every event is counted once; nothing carries a name of a user or a token.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })

/**
 * Tokens put on a request to an API.
 *
 * @since 0.1.0
 * @category metrics
 */
export const used: Metric.Metric.Counter<number> = counter("oauth_access_token_used", "access tokens put on a request")

/**
 * Tokens that an authorization server gave out.
 *
 * @since 0.1.0
 * @category metrics
 */
export const retrieved: Metric.Metric.Counter<number> = counter(
  "oauth_access_token_retrieved",
  "access tokens acquired from an authorization server"
)

/**
 * Acquisitions that failed; tagged with `error`, the tag of the typed error.
 *
 * @since 0.1.0
 * @category metrics
 */
export const retrievalFailed: Metric.Metric.Counter<number> = counter(
  "oauth_access_token_retrieval_failed",
  "acquisitions that failed"
)

/**
 * Requests to an API that were sent again with another token after a 401.
 *
 * @since 0.1.0
 * @category metrics
 */
export const retried: Metric.Metric.Counter<number> = counter(
  "oauth_unauthorized_retries",
  "requests sent again after a 401"
)

/**
 * Requests that were sent again with a nonce that their server demanded (RFC 9449 sections 8 and 9).
 *
 * @since 0.1.0
 * @category metrics
 */
export const nonceRetried: Metric.Metric.Counter<number> = counter(
  "oauth_dpop_nonce_retries",
  "requests sent again with the nonce that their server demanded"
)

const hits = counter("oauth_cache_hits", "tokens served from the cache")

const misses = counter("oauth_cache_misses", "calls for which the cache held no usable token")

/**
 * Calls served from the memory of this process; tagged with `tier`, `memory`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const cacheHit: Metric.Metric.Counter<number> = hits.pipe(Metric.tagged("tier", "memory"))

/**
 * Calls for which the memory held no token; tagged with `tier`, `memory`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const cacheMiss: Metric.Metric.Counter<number> = misses.pipe(Metric.tagged("tier", "memory"))

/**
 * Reads of the shared store that found a token; tagged with `tier`, `shared`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sharedHit: Metric.Metric.Counter<number> = hits.pipe(Metric.tagged("tier", "shared"))

/**
 * Reads of the shared store that found none, or none that could be opened; tagged with `tier`, `shared`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sharedMiss: Metric.Metric.Counter<number> = misses.pipe(Metric.tagged("tier", "shared"))

/**
 * Callers that shared an acquisition which was under way already.
 *
 * @since 0.1.0
 * @category metrics
 */
export const coalesced: Metric.Metric.Counter<number> = counter(
  "oauth_coalesced_callers",
  "callers that joined an acquisition under way"
)

const refreshAhead = counter("oauth_refresh_ahead", "renewals in the background before expiry")

/**
 * Renewals in the background, by outcome.
 *
 * @since 0.1.0
 * @category metrics
 */
export const refreshedAhead: Metric.Metric.Counter<number> = refreshAhead.pipe(Metric.tagged("outcome", "success"))

/**
 * @since 0.1.0
 * @category metrics
 */
export const refreshAheadFailed: Metric.Metric.Counter<number> = refreshAhead.pipe(Metric.tagged("outcome", "failure"))

/**
 * How long acquisitions took, in milliseconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const acquisitionMillis: Metric.Metric.Histogram<number> = Metric.histogram(
  "oauth_acquisition_milliseconds",
  MetricBoundaries.exponential({ start: 1, factor: 2, count: 16 }),
  "duration of acquisitions in milliseconds"
)

/**
 * How many seconds a token had left when it was put on a request.
 *
 * @since 0.1.0
 * @category metrics
 */
export const secondsToExpiry: Metric.Metric.Histogram<number> = Metric.histogram(
  "oauth_seconds_to_expiry_at_use",
  MetricBoundaries.fromIterable([0, 1, 5, 15, 60, 300, 900, 3600, 86400]),
  "seconds that a token had left when it was used"
)

/**
 * Failures after which an authorization server was left alone for a while.
 *
 * @since 0.1.0
 * @category metrics
 */
export const backedOff: Metric.Metric.Counter<number> = counter(
  "oauth_backoffs",
  "failures after which an authorization server was left alone for a while"
)

const failedByTag = new Map<string, typeof retrievalFailed>()

/** @internal Built once for each tag: building a tagged metric costs ten times its update. */
export const retrievalFailedWith = (tag: string): typeof retrievalFailed => {
  const known = failedByTag.get(tag)
  if (known !== undefined) return known
  const metric = retrievalFailed.pipe(Metric.tagged("error", tag))
  failedByTag.set(tag, metric)
  return metric
}

const noTags: [] = []

/** @internal Counts on the hit path: no effect, no labels. */
export const count = (metric: Metric.Metric.Counter<number>): void => metric.unsafeUpdate(1, noTags)

/** @internal */
export const observe = (metric: Metric.Metric.Histogram<number>, value: number): void =>
  metric.unsafeUpdate(value, noTags)
