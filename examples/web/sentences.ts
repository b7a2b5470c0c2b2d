/** Errors as a person is told of them. What a developer wants to know of them is in the log. */
import type { OidcRoutes, UserAccessTokenHttpClient } from "@effect-oauth/oidc"
import type { HttpClientError } from "@effect/platform"
import type { ParseResult } from "effect"

export type CallFailure = UserAccessTokenHttpClient.CallError | HttpClientError.HttpClientError | ParseResult.ParseError

export interface Sentence {
  readonly title: string
  readonly text: string
  readonly status: number
  /** Where to go on: to the sign-in, or back to the start. */
  readonly next: "sign-in" | "home"
}

export const sentence = (error: CallFailure | OidcRoutes.PageError): Sentence => {
  switch (error._tag) {
    case "NoActiveUser":
      return { title: "Please sign in", text: "You are not signed in.", status: 401, next: "sign-in" }
    case "SessionEnded":
      return { title: "Please sign in again", text: "Your session has ended.", status: 401, next: "sign-in" }
    case "SignInRequired":
    case "RefreshTokenMissing":
      return {
        title: "Please sign in again",
        text: "Your access has ended, and this app may not renew it without you.",
        status: 401,
        next: "sign-in"
      }
    case "StepUpRequired":
      return { title: "Please sign in once more", text: "This needs a stronger sign-in.", status: 401, next: "sign-in" }
    case "ResponseError":
      return {
        title: "The API has refused",
        text: `It answered with status ${error.response.status}.`,
        status: 502,
        next: "home"
      }
    case "RequestError":
      return { title: "The API cannot be reached", text: "Please try again later.", status: 502, next: "home" }
    case "ParseError":
      return { title: "The API was not understood", text: "Its answer makes no sense.", status: 502, next: "home" }
    case "LoginRefused":
      return error.error === "access_denied"
        ? { title: "You have not signed in", text: "You said no, and that is fine.", status: 403, next: "sign-in" }
        : { title: "Signing in did not work", text: "The provider said no.", status: 400, next: "sign-in" }
    case "LoginAnswerInvalid":
      return {
        title: "This sign-in cannot be finished",
        text: "It was begun in another browser, was finished already, or took too long.",
        status: 400,
        next: "sign-in"
      }
    case "CrossSiteRequest":
      return { title: "This was refused", text: "It did not come from a page of this app.", status: 403, next: "home" }
    case "OidcClientNotFound":
      return { title: "There is no such way to sign in", text: "Choose another one.", status: 404, next: "home" }
    default:
      return {
        title: "That is not possible at the moment",
        text: "Something that this app relies on does not answer as it should. Please try again later.",
        status: 503,
        next: "home"
      }
  }
}
