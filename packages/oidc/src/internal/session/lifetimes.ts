/**
 * How long sessions last.
 */
import * as Duration from "effect/Duration"
import { SessionContent } from "../../Session.ts"

/** @internal In milliseconds. */
export interface Lifetimes {
  /** From the sign-in on, whatever happens. */
  readonly absolute: number
  /** From the last request on. */
  readonly idle: number
}

/** @internal When the session ends if no request comes any more, in milliseconds since 1970. */
export const endOf = ({ seenAt, startedAt }: SessionContent, { absolute, idle }: Lifetimes): number =>
  Math.min(startedAt + absolute, seenAt + idle)

/** @internal Whether it is worth writing down that the user is still there: not at each request. */
export const isToBeTouched = ({ seenAt }: SessionContent, { idle }: Lifetimes, now: number): boolean =>
  now - seenAt > idle / 20

/** @internal */
export const touched = (content: SessionContent, now: number): SessionContent =>
  new SessionContent({ ...content, seenAt: now })

/** @internal How long to keep it from now on: never longer than a session may last, whatever the clock was when it began. */
export const left = (content: SessionContent, lifetimes: Lifetimes, now: number): Duration.Duration =>
  Duration.millis(
    Math.max(0, Math.min(endOf(content, lifetimes) - now, lifetimes.absolute, lifetimes.idle))
  )
