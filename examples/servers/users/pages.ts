/** What a user sees of the authorization server: plain pages that ask no other host for anything, and run no script. */

const styles = `
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5d6780; --line: #d8dde8; --card: #fff; --back: #f2f4f9; --act: #2f5bd3 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf3; --soft: #9aa4bb; --line: #343c50; --card: #1b2130; --back: #11151f; --act: #4d78ec }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif }
main { width: 100%; max-width: 24rem; padding: 2.25rem 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; box-shadow: 0 12px 32px rgb(20 30 60 / 8%) }
h1 { margin: 0 0 .35rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em }
p { margin: 0 0 1.5rem; color: var(--soft) }
main > :last-child { margin-bottom: 0 }
b { color: var(--ink); font-weight: 600; overflow-wrap: anywhere }
label { display: block; margin-bottom: .35rem; font-size: .875rem; font-weight: 600 }
input[type=text] { width: 100%; padding: .65rem .8rem; margin-bottom: 1.25rem; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: 8px }
ul { list-style: none; margin: 0 0 1.5rem; padding: 0; border: 1px solid var(--line); border-radius: 8px }
li { padding: .65rem .9rem; overflow-wrap: anywhere }
li + li { border-top: 1px solid var(--line) }
li small { display: block; color: var(--soft) }
button { width: 100%; padding: .7rem; font: inherit; font-weight: 600; color: #fff; background: var(--act);
  border: 1px solid transparent; border-radius: 8px; cursor: pointer }
button:hover { filter: brightness(1.08) }
button.quiet { margin-top: .75rem; color: var(--ink); background: none; border-color: var(--line) }
:focus-visible { outline: 3px solid color-mix(in srgb, var(--act) 45%, transparent); outline-offset: 1px }
.cancel { display: block; margin-top: 1rem; text-align: center; color: var(--soft); font-size: .9rem }
`

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;"
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? "")

/** For the headers of each page. */
export const contentSecurityPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"

/** `step` tells it from the pages of apps, for whoever drives a browser. */
const page = (step: string, title: string, body: string): string =>
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escape(title)}</title>
<style>${styles}</style>
</head>
<body data-authorization-server="${step}"><main>
<h1>${escape(title)}</h1>
${body}
</main></body>
</html>`

const cancel = (uid: string) => `<a class="cancel" href="${escape(uid)}/cancel">Cancel</a>`

export interface Asking {
  /** Of the interaction: its pages are at this path. */
  readonly uid: string
  readonly clientName: string
}

export const login = (options: Asking & { readonly userName: string; readonly stepUp: boolean }): string =>
  page(
    "login",
    "Sign in",
    `<p>${options.stepUp ? "Once more, with a second factor," : "To go on"} to <b>${escape(options.clientName)}</b></p>
<form method="post" autocomplete="off">
<label for="login">User name</label>
<input type="text" id="login" name="login" value="${escape(options.userName)}" required maxlength="100" autofocus>
<button type="submit">Sign in</button>
</form>
${cancel(options.uid)}`
  )

const meanings: Readonly<Record<string, string>> = {
  openid: "Who you are",
  profile: "Your name and your role",
  email: "Your email address",
  offline_access: "Going on while you are away"
}

const scopeItem = (scope: string): string => {
  const meaning = meanings[scope]
  return meaning === undefined
    ? `<li>${escape(scope)}</li>`
    : `<li>${escape(meaning)}<small>${escape(scope)}</small></li>`
}

export const consent = (
  options: Asking & { readonly userName: string; readonly scopes: ReadonlyArray<string> }
): string =>
  page(
    "consent",
    "Continue",
    `<p><b>${escape(options.clientName)}</b> asks <b>${escape(options.userName)}</b> for</p>
<ul>${options.scopes.map(scopeItem).join("")}</ul>
<form method="post"><button type="submit" autofocus>Continue</button></form>
${cancel(options.uid)}`
  )

/** The form comes from the server library, and goes to the server with or without `logout`. */
export const logout = (options: { readonly userName: string; readonly form: string }): string =>
  page(
    "logout",
    "Sign out",
    `<p>You are signed in as <b>${escape(options.userName)}</b></p>
${options.form}
<button type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>Sign out</button>
<button type="submit" form="op.logoutForm" class="quiet">Stay signed in</button>`
  )

export const signedOut: string = page("signed-out", "Signed out", "<p>You can close this page.</p>")

/** The form comes from the server library, with the field in it. */
export const userCode = (options: { readonly form: string; readonly problem: string | undefined }): string =>
  page(
    "code",
    "Sign in on a device",
    `<p>${escape(options.problem ?? "Enter the code that the device shows")}</p>
${options.form}
<button type="submit" form="op.deviceInputForm">Continue</button>`
  )

/** The form comes from the server library, and goes to the server with or without `abort`. */
export const confirmDevice = (
  options: { readonly form: string; readonly code: string; readonly clientName: string }
): string =>
  page(
    "confirm",
    "Is it this device?",
    `<p><b>${escape(options.clientName)}</b> shows the code <b>${escape(options.code)}</b></p>
${options.form}
<button type="submit" form="op.deviceConfirmForm" autofocus>Yes</button>
<button type="submit" form="op.deviceConfirmForm" class="quiet" name="abort" value="yes">No</button>`
  )

export const deviceSignedIn: string = page("done", "Signed in", "<p>Go on at the device. You can close this page.</p>")

export const failure = (options: { readonly error: string; readonly description: string }): string =>
  page("failure", "That did not work", `<p>${escape(options.description)}</p><p><b>${escape(options.error)}</b></p>`)
