import * as Duration from "effect/Duration"
import { inSession, type UserTokenStore } from "../../UserTokenStore.ts"
import * as Guarding from "./guarding.ts"

const guard = Guarding.make(Duration.seconds(5))

/** @internal A store of user tokens that is asked so; the session's own looks after itself. */
export const guarded = (store: UserTokenStore["Type"]): UserTokenStore["Type"] =>
  store === inSession ? store : {
    ...store,
    get: (session, clientName) => guard("get", () => store.get(session, clientName)),
    set: (session, clientName, tokens, ifVersion) =>
      guard("set", () => store.set(session, clientName, tokens, ifVersion)),
    clear: (session, clientName) => guard("clear", () => store.clear(session, clientName))
  }
