/**
 * What this library says, at the level that `OAuthLogging` gives.
 */
import { OAuthLogging } from "@effect-oauth/core/OAuthLogging"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"

/** @internal */
export type Say = (level: LogLevel.LogLevel, message: string) => Effect.Effect<void>

/** @internal */
export const make: Effect.Effect<Say> = Effect.map(
  Effect.serviceOption(OAuthLogging),
  (least): Say => (level, message) =>
    Option.match(least, {
      onNone: () => Effect.logWithLevel(level, message),
      onSome: (least) => Logger.withMinimumLogLevel(Effect.logWithLevel(level, message), least)
    })
)
