import { Cause, Layer, Logger, LogLevel } from "effect"

/** What is logged, at every level, where the Layer is there. */
export const capture = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    lines.push(`${logLevel.label} ${JSON.stringify(message)} ${Cause.pretty(cause)}`)
  })
  return {
    text: () => lines.join("\n"),
    layer: Layer.merge(Logger.add(logger), Logger.minimumLogLevel(LogLevel.All))
  }
}
