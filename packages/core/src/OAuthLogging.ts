/**
 * How much this library alone says, whatever the level of the program is. A normal renewal is Debug, a failed acquisition
 * Warning.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as OptionalServices from "./OptionalServices.ts"

/**
 * The least level that this library logs. Without it, the program's own level decides.
 *
 * @since 0.1.0
 * @category tags
 */
export class OAuthLogging extends Context.Tag("@effect-oauth/core/OAuthLogging")<OAuthLogging, LogLevel.LogLevel>() {}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (level: LogLevel.LogLevel): Layer.Layer<OAuthLogging> => Layer.succeed(OAuthLogging, level)

/**
 * The level by configuration, default `OAUTH_LOG_LEVEL`: one of `Trace`, `Debug`, `Info`, `Warning`, `Error`, `Fatal`,
 * `None`, `All`. Where it is not set, the program's own level decides.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config<LogLevel.LogLevel> = Config.logLevel("OAUTH_LOG_LEVEL")
): Layer.Layer<never, ConfigError.ConfigError> =>
  Layer.unwrapEffect(
    Effect.map(
      Config.option(config),
      Option.match({ onNone: () => Layer.empty, onSome: (level): Layer.Layer<never> => layer(level) })
    )
  )

/**
 * What one service says, at three levels: what is normal, what a person should know, what is not as it should be. A line is
 * annotated with the client that it is about (`oauth.client`), where there is one. It must hold no secret.
 *
 * @since 0.1.0
 * @category models
 */
export interface Log {
  readonly debug: (clientName: string | undefined, message: string) => Effect.Effect<void>
  readonly info: (clientName: string | undefined, message: string) => Effect.Effect<void>
  readonly warning: (clientName: string | undefined, message: string) => Effect.Effect<void>
}

/**
 * The log of one service, at the level that is provided where this is run: when the service is made, not when it speaks. For
 * packages that build on this one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Log> = Effect.map(OptionalServices.get(OAuthLogging), (level) => {
  const at = (logLevel: LogLevel.LogLevel) => (clientName: string | undefined, message: string) => {
    const line = Effect.logWithLevel(logLevel, message)
    const log = clientName === undefined ? line : Effect.annotateLogs(line, "oauth.client", clientName)
    return Option.match(level, {
      onNone: () => log,
      onSome: (least) => LogLevel.lessThan(logLevel, least) ? Effect.void : Logger.withMinimumLogLevel(log, least)
    })
  }
  return { debug: at(LogLevel.Debug), info: at(LogLevel.Info), warning: at(LogLevel.Warning) }
})
