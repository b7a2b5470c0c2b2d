/** @internal */
export const isBase64Url = (value: unknown): value is string =>
  typeof value === "string" && /^[A-Za-z0-9_-]+$/.test(value)

/** @internal Of what it stands for. */
export const byteLength = (text: string): number => Math.floor((text.length * 3) / 4)

/** @internal How many bytes each coordinate of a curve has (RFC 7518 section 6.2.1). */
export const coordinateBytes = { "P-256": 32, "P-384": 48, "P-521": 66 } as const

/** @internal The bytes it stands for. */
export const bytesOf = (text: string): Uint8Array =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0))
