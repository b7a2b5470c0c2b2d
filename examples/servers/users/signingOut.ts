/** Ends what an authorization server has with a user, from its own side. */
import { Effect } from "effect"
import type Provider from "oidc-provider"
import type { Memory } from "../memoryAdapter.ts"

/** A client that was told by its back channel. */
export interface Told {
  readonly clientId: string
  /** Whether it answered with 200 or 204. */
  readonly ok: boolean
}

const tell = async (provider: Provider, clientId: string, userName: string, sid: string | undefined) => {
  const client = await provider.Client.find(clientId)
  if (client?.backchannelLogoutUri === undefined) return []
  if (!("backchannelLogout" in client) || typeof client.backchannelLogout !== "function") return []
  const ok = await client.backchannelLogout(userName, sid).then(() => true, () => false)
  return [{ clientId, ok }]
}

/** As at its end of session page. */
const end = async (provider: Provider, memory: Memory, userName: string): Promise<ReadonlyArray<Told>> => {
  const told: Array<Told> = []
  for (const { jti } of memory.find("Session", ({ accountId }) => accountId === userName)) {
    const session = jti === undefined ? undefined : await provider.Session.find(jti)
    if (session === undefined) continue
    for (const [clientId, { grantId, persistsLogout, sid }] of Object.entries(session.authorizations ?? {})) {
      for (const client of await tell(provider, clientId, userName, sid)) told.push(client)
      if (grantId !== undefined && persistsLogout !== true) memory.revokeGrant(grantId)
    }
    await session.destroy()
  }
  return told
}

export const signOut = (provider: () => Provider, memory: Memory, userName: string) =>
  Effect.promise(() => end(provider(), memory, userName))

export const revokeGrant = (memory: Memory, userName: string): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const { jti } of memory.find("Grant", ({ accountId }) => accountId === userName)) {
      if (jti !== undefined) memory.revokeGrant(jti)
    }
  })
