import type { Adapter, AdapterFactory, AdapterPayload } from "oidc-provider"

/** What the authorization server keeps: tokens, grants, sessions. Its own in-memory store forgets after 1,000 entries. */
export interface Memory {
  readonly adapter: AdapterFactory
  /** Drops the tokens of a client, or of all clients. */
  readonly dropTokens: (clientId?: string) => void
  /** What it keeps of a kind, such as "Session" or "Grant". */
  readonly find: (model: string, isFound: (payload: AdapterPayload) => boolean) => ReadonlyArray<AdapterPayload>
  /** Drops a grant with all its tokens. */
  readonly revokeGrant: (grantId: string) => void
}

interface Entry {
  readonly model: string
  readonly id: string
  readonly payload: AdapterPayload
}

const tokenModels: ReadonlySet<string> = new Set(["AccessToken", "ClientCredentials", "RefreshToken"])

export const make = (): Memory => {
  const entries = new Map<string, Entry>()

  const dropWhere = (isDropped: (entry: Entry) => boolean): void => {
    for (const [key, entry] of entries) if (isDropped(entry)) entries.delete(key)
  }

  const adapter = (model: string): Adapter => {
    const keyOf = (id: string) => `${model}:${id}`
    const findWhere = (isFound: (payload: AdapterPayload) => boolean) => {
      for (const entry of entries.values()) if (entry.model === model && isFound(entry.payload)) return entry.payload
      return undefined
    }
    return {
      upsert: async (id, payload) => void entries.set(keyOf(id), { model, id, payload }),
      find: async (id) => entries.get(keyOf(id))?.payload,
      findByUid: async (uid) => findWhere((payload) => payload.uid === uid),
      findByUserCode: async (userCode) => findWhere((payload) => payload.userCode === userCode),
      consume: async (id) => {
        const entry = entries.get(keyOf(id))
        if (entry !== undefined) Object.assign(entry.payload, { consumed: Math.floor(Date.now() / 1000) })
      },
      destroy: async (id) => void entries.delete(keyOf(id)),
      revokeByGrantId: async (grantId) => dropWhere(({ payload }) => payload.grantId === grantId)
    }
  }

  return {
    adapter,
    dropTokens: (clientId) =>
      dropWhere(({ model, payload }) =>
        tokenModels.has(model) && (clientId === undefined || payload.clientId === clientId)
      ),
    find: (model, isFound) =>
      [...entries.values()].filter((entry) => entry.model === model && isFound(entry.payload)).map(({ payload }) =>
        payload
      ),
    revokeGrant: (grantId) =>
      dropWhere(({ id, model, payload }) => payload.grantId === grantId || (model === "Grant" && id === grantId))
  }
}
