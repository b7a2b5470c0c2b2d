/**
 * Sessions that would be too large for their cookies.
 */
import * as DateTime from "effect/DateTime"
import { SessionContent, SignIn } from "../../Session.ts"
import { UserTokens } from "../../UserTokens.ts"

/**
 * @internal Without the access token that was obtained first: it can be had again, which a refresh token that was rotated
 * cannot. `undefined` if there is none.
 */
export const withoutOldestToken = (content: SessionContent): SessionContent | undefined => {
  const all = Object.entries(content.signIns).flatMap(([clientName, signIn]) =>
    Object.entries(signIn.tokens?.accessTokens ?? {}).map(([address, token]) => ({
      address,
      clientName,
      signIn,
      obtainedAt: DateTime.toEpochMillis(token.obtainedAt)
    }))
  )
  const [oldest] = all.sort((one, other) => one.obtainedAt - other.obtainedAt)
  if (oldest?.signIn.tokens === undefined) return undefined
  const { address, clientName, signIn } = oldest
  const { [address]: _, ...accessTokens } = oldest.signIn.tokens.accessTokens
  const tokens = new UserTokens({ ...oldest.signIn.tokens, accessTokens })
  return new SessionContent({
    ...content,
    signIns: { ...content.signIns, [clientName]: new SignIn({ ...signIn, tokens }) }
  })
}
