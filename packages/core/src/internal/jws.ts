/**
 * JWTs in the compact form that is signed (RFC 7515 section 7.1), before anything of them is believed.
 */
import * as Predicate from "effect/Predicate"
import { base64url } from "jose"

type Json = Readonly<Record<string, unknown>>

/** @internal */
export interface Jwt {
  readonly header: Json
  readonly payload: Json
}

const compact = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+$/

const decoder = new TextDecoder("utf-8", { fatal: true })

const objectOf = (segment: string): Json | undefined => {
  try {
    const value: unknown = JSON.parse(decoder.decode(base64url.decode(segment)))
    return Predicate.isReadonlyRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** @internal `undefined` where it is anything else. */
export const parseJwt = (text: string): Jwt | undefined => {
  const [, protectedHeader, body] = compact.exec(text) ?? []
  const header = protectedHeader === undefined ? undefined : objectOf(protectedHeader)
  const payload = body === undefined ? undefined : objectOf(body)
  return header === undefined || payload === undefined ? undefined : { header, payload }
}
