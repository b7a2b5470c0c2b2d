import ts from "typescript"

/** A tsconfig with what it extends, and with some options replaced. */
export const parseConfig = (path, replaced) => {
  const onUnRecoverableConfigFileDiagnostic = (diagnostic) => {
    throw new Error(`${path}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")}`)
  }
  return ts.getParsedCommandLineOfConfigFile(path, replaced, { ...ts.sys, onUnRecoverableConfigFileDiagnostic })
}
