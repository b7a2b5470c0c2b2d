/**
 * The pages that the routes show unless a program brings its own: they say what happened and how to go on.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { PageError, Pages } from "../../OidcRoutes.ts"

const style = `
  :root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
  body { max-width: 34rem; margin: 20vh auto 0; padding: 0 1.5rem }
  h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .5rem }
  p { margin: 0 0 1.5rem; opacity: .8 }
  a, button { font: inherit; display: inline-block; padding: .5rem 1rem; border-radius: .5rem; border: 1px solid;
    background: none; color: inherit; text-decoration: none; cursor: pointer }
`

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const page = (title: string, body: string, status: number): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
      `<title>${escape(title)}</title><style>${style}</style><h1>${escape(title)}</h1>${body}</html>`,
    { status, contentType: "text/html; charset=utf-8" }
  )

interface Told {
  readonly title: string
  readonly text: string
  readonly status: number
}

const again = "Please sign in again."

/** What a person needs to know. What a developer needs is in the log. */
const tell = (error: PageError): Told => {
  switch (error._tag) {
    case "LoginRefused":
      return error.error === "access_denied"
        ? { title: "You have not signed in", text: "The sign-in was cancelled.", status: 403 }
        : { title: "Signing in did not work", text: "The sign-in service answered with an error.", status: 400 }
    case "LoginAnswerInvalid":
      return {
        title: "This sign-in cannot be finished",
        text: "It was begun in another browser, has been used already, or took too long.",
        status: 400
      }
    case "CrossSiteRequest":
      return { title: "This request was refused", text: "It did not come from a page of this site.", status: 403 }
    case "OidcClientNotFound":
      return { title: "There is no such way to sign in", text: again, status: 404 }
    case "IdTokenInvalid":
    case "UserInfoInvalid":
      return { title: "Signing in did not work", text: "The sign-in service sent something unexpected.", status: 400 }
    default:
      return {
        title: "Signing in is not possible at the moment",
        text: "Please try again in a minute.",
        status: error._tag !== "SigningError" && error.retryable ? 503 : 500
      }
  }
}

/** @internal */
export const builtIn: Pages = {
  error: (error) => {
    const { status, text, title } = tell(error)
    return page(title, `<p>${escape(text)}</p><a href="/">Back to the start</a>`, status)
  },
  signOut: (action) =>
    page(
      "Sign out?",
      `<p>You will be signed out here and at the sign-in service.</p>` +
        `<form method="post" action="${escape(action)}"><button>Sign out</button></form>`,
      200
    )
}
