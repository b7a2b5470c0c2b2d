/**
 * An `HttpApi` that takes access tokens (`server.ts`), and a web app that calls it for its users (`app.ts`), by what both
 * share (`api.ts`). A page needs a stronger sign-in, which the API demands and the app arranges (RFC 9470). The rest of this
 * folder is the person in front of it: `npm run example http-api`.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import { App } from "./app.ts"
import { Api } from "./server.ts"
import { run } from "./story.ts"

run(Layer.merge(Api, App)).pipe(NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true }))
