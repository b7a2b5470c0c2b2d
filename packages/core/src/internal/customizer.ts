import * as Context from "effect/Context"
import type { AccessTokenError } from "../OAuthError.ts"
import type { Customize } from "../TokenRetriever.ts"

/** Public as `TokenRetriever.TokenRequestCustomizer`; here, since managers, which retrievers ask, take it up too. */
export class TokenRequestCustomizer extends Context.Tag("@effect-oauth/core/TokenRequestCustomizer")<
  TokenRequestCustomizer,
  Customize<AccessTokenError>
>() {}
