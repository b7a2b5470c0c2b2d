/**
 * Programs that share a store and a key ring: what one keeps has another name, and another seal, than what another one keeps.
 */
import type { Signer } from "@effect-oauth/core/Signer"
import type { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import * as Redacted from "effect/Redacted"

const bound = (program: string, name: string): string => JSON.stringify([program, name])

/** @internal Its hashes are the program's own. */
export const signer = (self: Signer["Type"], program: string): Signer["Type"] => ({
  ...self,
  sha256: (text) => self.sha256(bound(program, text))
})

/** @internal What it seals, only the program opens. */
export const encryption = (self: TokenEncryption["Type"], program: string): TokenEncryption["Type"] => ({
  ...self,
  seal: (name, text) => self.seal(bound(program, name), text),
  open: (name, sealed) => self.open(bound(program, name), sealed)
})

/** @internal The name of the program's login, for stores that are built without knowing the program. */
export const state = (self: Redacted.Redacted<string>, program: string): Redacted.Redacted<string> =>
  Redacted.make(bound(program, Redacted.value(self)))
