/**
 * Which key a token is bound to. Not a field of the token: what is kept or sent of a token must never hold a private key,
 * and a token that comes back from elsewhere has to be bound anew.
 */
import type { AccessToken } from "../../AccessToken.ts"
import type { SigningKey } from "../../SigningKey.ts"
import type { Proving } from "./proving.ts"

/** @internal */
export interface Possession {
  readonly key: SigningKey
  readonly proving: Proving
}

const possessions = new WeakMap<AccessToken, Possession>()

/** @internal */
export const bind = (token: AccessToken, possession: Possession): AccessToken => {
  possessions.set(token, possession)
  return token
}

/** @internal */
export const possessionOf = (token: AccessToken): Possession | undefined => possessions.get(token)
