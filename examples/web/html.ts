/** HTML in which every value is text, unless it is HTML itself. */

export class Html {
  constructor(readonly text: string) {}
}

type Value = Html | string | number | undefined | ReadonlyArray<Html>

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const shown = (value: Value): string => {
  if (value === undefined) return ""
  if (value instanceof Html) return value.text
  return typeof value === "object" ? value.map(({ text }) => text).join("") : escape(String(value))
}

export const html = (parts: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(parts.map((part, index) => index === 0 ? part : shown(values[index - 1]) + part).join(""))
