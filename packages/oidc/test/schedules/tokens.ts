/**
 * What tokens of the scripted server look like: `<kind>-<whose>-<number>`. They are numbered in the order in which the server
 * gives them, so that of two the newer one is known, and so is whose they are.
 */

export type TokenKind = "machine" | "access" | "refresh"

const pattern = /\b(machine|access|refresh)-([\w.]+)-(\d+)\b/g

export const tokenOf = (kind: TokenKind, owner: string, number: number): string => `${kind}-${owner}-${number}`

export interface Parsed {
  readonly kind: string
  readonly owner: string
  readonly number: number
}

export const parse = (token: string): Parsed => {
  const [, kind = "", owner = "", number = "0"] = new RegExp(pattern).exec(token) ?? []
  return { kind, owner, number: Number(number) }
}

/** The highest number of each kind and owner in a text. */
export const numbersIn = (text: string): ReadonlyMap<string, number> => {
  const numbers = new Map<string, number>()
  for (const [, kind = "", owner = "", number = "0"] of text.matchAll(pattern)) {
    const name = `${kind}-${owner}`
    numbers.set(name, Math.max(numbers.get(name) ?? 0, Number(number)))
  }
  return numbers
}

/** As `TokenEncryption` of the harness seals: readable, and bound to the entry's key. */
export const seal = (key: string, text: string): string =>
  `${Buffer.from(key).toString("base64url")}.${Buffer.from(text).toString("base64url")}`

export const open = (key: string, sealed: string): string | undefined => {
  const [bound = "", text = ""] = sealed.split(".")
  return bound === Buffer.from(key).toString("base64url") ? Buffer.from(text, "base64url").toString() : undefined
}

/** What is in a stored value, sealed or not. */
export const textIn = (value: string): string => {
  const [bound, text, more] = value.split(".")
  return bound !== undefined && text !== undefined && more === undefined && /^[\w-]+$/.test(text)
    ? Buffer.from(text, "base64url").toString()
    : value
}

/** A JWT without cryptography: it says that it is of this user, and whether its signature can be checked. */
export const idTokenOf = (user: string, isVerifiable: boolean): string => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
  return `${part({ alg: "ES256" })}.${part({ sub: user, sid: `sid-${user}`, isVerifiable })}.signature`
}

export const claimsOf = (jwt: string): Readonly<Record<string, unknown>> | undefined => {
  const [, payload] = jwt.split(".")
  return payload === undefined
    ? undefined
    : JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>
}
