/** What a person sees. Pages get data, and none of it is a token. */
import type { Principal } from "@effect-oauth/oidc"
import { HttpServerResponse } from "@effect/platform"
import type { Answer } from "./calls.ts"
import { type Html, html } from "./html.ts"
import type { Entry } from "./journal.ts"
import type { Sentence } from "./sentences.ts"
import type { Provider } from "./site.ts"

/** A token without the token. */
export interface TokenFacts {
  readonly purpose: string
  readonly type: string
  /** In milliseconds since 1970. */
  readonly endsAt: number | undefined
  readonly scope: string | undefined
  /** Of the key that it is bound to. */
  readonly thumbprint: string | undefined
}

export interface SignedInUser {
  readonly provider: Provider
  readonly principal: Principal.Principal
  readonly tokens: ReadonlyArray<TokenFacts>
  readonly canRenew: boolean
}

/** What came of the button that was pressed. */
export interface Outcome {
  readonly isGood: boolean
  readonly title: string
  readonly text?: string | undefined
  readonly answer?: Answer | undefined
}

export interface Home {
  readonly users: ReadonlyArray<SignedInUser>
  /** Those that the user is not signed in with. */
  readonly others: ReadonlyArray<Provider>
  readonly outcome: Outcome | undefined
  readonly notes: ReadonlyArray<string>
  readonly entries: ReadonlyArray<Entry>
  readonly counts: ReadonlyMap<string, number>
}

/** Chromium follows a form's redirects by `form-action` too: to sign out, one leads to the provider. */
const policy = (providers: ReadonlyArray<Provider>): string =>
  "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; " +
  `form-action 'self' ${providers.map(({ issuer }) => new URL(issuer).origin).join(" ")}`

/** Nobody keeps these pages: not even the browser, for the next one who sits down at it and goes back. */
export const respond = (page: Html, providers: ReadonlyArray<Provider>, status = 200) =>
  HttpServerResponse.text(page.text, {
    status,
    contentType: "text/html; charset=utf-8",
    headers: {
      "cache-control": "no-store",
      "content-security-policy": policy(providers),
      "referrer-policy": "same-origin",
      "x-content-type-options": "nosniff"
    }
  })

const layout = (title: string, userName: string | undefined, body: Html): Html =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
<script src="/countdown.js" defer></script>
<title>${title}</title>
</head>
<body>
<header><div><a class="brand" href="/"><i></i>Paper Trail</a>${
    userName === undefined ? undefined : html`<span class="who">${userName}</span>
<form method="post" action="/auth/logout"><button>Sign out everywhere</button></form>`
  }</div></header>
<main>${body}</main>
</body>
</html>`

/** Without a client it is the default one's. */
const loginPath = (client: string | undefined): string => {
  const parameters = new URLSearchParams(client === undefined || client === "" ? {} : { client })
  parameters.set("returnTo", "/")
  return `/auth/login?${parameters}`
}

const signInButtons = (providers: ReadonlyArray<Provider>, kind: "main" | ""): Html =>
  html`<div class="row">${
    providers.map((provider) =>
      html`<a class="button ${kind}" href="${loginPath(provider.client)}">${
        providers.length === 1 && kind === "main" ? "Sign in" : `Sign in with ${provider.title}`
      }</a>`
    )
  }</div>`

const facts = (pairs: ReadonlyArray<readonly [name: string, value: string | undefined]>): Html =>
  html`<dl>${
    pairs.flatMap(([name, value]) => value === undefined ? [] : [html`<dt>${name}</dt><dd>${value}</dd>`])
  }</dl>`

const tokenRow = ({ endsAt, purpose, scope, thumbprint, type }: TokenFacts): Html =>
  html`<tr><td>${purpose}</td><td>${type}</td><td>${
    endsAt === undefined ? "does not end" : html`<time data-ends="${endsAt}"></time>`
  }</td><td>${scope ?? "not told"}</td><td>${
    thumbprint === undefined ? "none" : html`<code>${thumbprint}</code>`
  }</td></tr>`

const buttons = (client: string): Html =>
  html`<form method="post" class="row"><input type="hidden" name="client" value="${client}">
<button class="main" formaction="/call-as-me">Call the API as me</button>
<button formaction="/call-as-app">Call the API as the app</button>
<button formaction="/call-other">Call with another resource</button>
<button formaction="/renew">Renew now</button>
<button formaction="/revoke">Revoke</button></form>`

const userSection = ({ canRenew, principal, provider, tokens }: SignedInUser): Html =>
  html`<section data-client="${provider.client}"><h2>Signed in with ${provider.title}</h2>${
    facts([
      ["Name", principal.name],
      ["Subject", principal.sub],
      ["Issuer", principal.issuer],
      ["Roles", principal.roles.join(", ") || "none"],
      ["Refresh token", canRenew ? "yes" : "none"]
    ])
  }<h3>Access tokens</h3>
<div class="scroll"><table><tr><th>For</th><th>Type</th><th>Ends in</th><th>Scope</th><th>Bound to key</th></tr>${
    tokens.map(tokenRow)
  }</table></div>
<h3>Do something with them</h3>${buttons(provider.client)}</section>`

const outcomeSection = ({ answer, isGood, text, title }: Outcome): Html =>
  html`<section class="outcome ${isGood ? "" : "bad"}" role="status"><h2>${title}</h2>${
    text === undefined ? undefined : html`<p>${text}</p>`
  }${
    answer === undefined ? undefined : facts([
      ["Caller", answer.caller],
      ["Client", answer.client],
      ["Issuer", answer.issuer],
      ["Scope", answer.scope ?? "none"],
      ["Bound to key", answer.boundTo]
    ])
  }</section>`

const entryItem = ({ at, level, text, who }: Entry): Html =>
  html`<li><span>${
    new Date(at).toISOString().slice(11, 19)
  }</span><span>${who}</span><div class="${level}">${text}</div></li>`

const journalSection = ({ counts, entries }: Home): Html =>
  html`<section><h2>Behind the scenes</h2>
<ul class="chips">${[...counts].map(([kind, count]) => html`<li>${kind} <b>${count}</b></li>`)}</ul>
<ul class="log">${entries.slice(0, 50).map(entryItem)}</ul></section>`

const noteList = (notes: ReadonlyArray<string>): Html =>
  html`<footer><ul class="chips">${notes.map((note) => html`<li>${note}</li>`)}</ul></footer>`

const signedOut = ({ notes, others }: Home): Html =>
  layout(
    "Paper Trail",
    undefined,
    html`<section class="hero"><h1>Who are you?</h1>
<p>Sign in, and this app calls its APIs on your behalf. Any user name works.</p>${
      signInButtons(others, "main")
    }</section>${noteList(notes)}`
  )

const signedIn = (home: Home, name: string): Html =>
  layout(
    "Paper Trail",
    name,
    html`${home.outcome === undefined ? undefined : outcomeSection(home.outcome)}${home.users.map(userSection)}${
      home.others.length === 0 ? undefined : signInButtons(home.others, "")
    }${journalSection(home)}${noteList(home.notes)}`
  )

export const home = (data: Home): Html => {
  const [first] = data.users
  return first === undefined ? signedOut(data) : signedIn(data, first.principal.name ?? first.principal.sub)
}

/** A page with one thing to say. */
export const message = ({ next, text, title }: Omit<Sentence, "status">, client?: string): Html =>
  layout(
    title,
    undefined,
    html`<section class="hero"><h1>${title}</h1><p>${text}</p><div class="row">${
      next === "sign-in"
        ? html`<a class="button main" href="${loginPath(client)}">Sign in</a>`
        : undefined
    }<a class="button" href="/">Back to the start</a></div></section>`
  )

export const askToSignOut = (action: string): Html =>
  layout(
    "Sign out?",
    undefined,
    html`<section class="hero"><h1>Sign out?</h1><p>Here, and at the provider.</p>
<form method="post" action="${action}"><button class="main">Sign out</button></form></section>`
  )
