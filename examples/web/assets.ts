/** What pages look like, and the few lines that let their countdowns run. Nothing comes from elsewhere. */

export const style = `
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5d6780; --line: #dde2ec; --card: #fff; --back: #f2f4f9;
  --act: #2f5bd3; --good: #1c7a4a; --bad: #b3372f; --tint: #f6f8fc }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf3; --soft: #9aa4bb; --line: #313a4e; --card: #1b2130; --back: #11151f; --act: #4d78ec;
    --good: #54c68c; --bad: #f08a82; --tint: #222a3c }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif }
header { background: var(--card); border-bottom: 1px solid var(--line) }
header > div, main { max-width: 66rem; margin: 0 auto; padding: 0 1.5rem }
header > div { min-height: 4rem; padding-top: .6rem; padding-bottom: .6rem; display: flex; flex-wrap: wrap; align-items: center; gap: 1rem }
.brand { display: flex; align-items: center; gap: .6rem; color: inherit; font-weight: 650; text-decoration: none;
  letter-spacing: -.01em }
.brand i { flex: none; width: 1.5rem; height: 1.5rem; border-radius: 7px; background: var(--act); position: relative }
.brand i::after { content: ""; position: absolute; inset: .42rem; border: 2px solid #fff; border-radius: 50% }
.who { margin-left: auto; color: var(--soft) }
main { padding-top: 2rem; padding-bottom: 3rem; display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.25rem }
section { padding: 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: 14px; min-width: 0 }
h1 { margin: 0 0 .4rem; font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em }
h2 { margin: 0 0 1rem; font-size: 1.1rem; letter-spacing: -.01em }
h3 { margin: 1.5rem 0 .5rem; color: var(--soft); font-size: .8125rem; font-weight: 600 }
p { margin: 0 0 1.25rem; color: var(--soft) }
section > :last-child { margin-bottom: 0 }
.hero { max-width: 34rem; width: 100%; margin: 8vh auto; padding: 2.5rem; text-align: center }
.hero .row { justify-content: center }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin: 0 }
button, .button { display: inline-block; padding: .55rem 1rem; font: inherit; font-weight: 600; text-decoration: none;
  color: var(--ink); background: none; border: 1px solid var(--line); border-radius: 8px; cursor: pointer }
button:hover, .button:hover { background: var(--tint) }
.main { color: #fff; background: var(--act); border-color: transparent }
.main:hover { background: var(--act); filter: brightness(1.08) }
:focus-visible { outline: 3px solid color-mix(in srgb, var(--act) 45%, transparent); outline-offset: 2px }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35rem 1.5rem; margin: 0 }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
.scroll table { min-width: 44rem }
th { padding: .4rem 1rem .4rem 0; color: var(--soft); font-size: .8125rem; font-weight: 600; text-align: left;
  white-space: nowrap }
td:first-child { white-space: nowrap }
td { padding: .6rem 1rem .6rem 0; border-top: 1px solid var(--line); vertical-align: top }
td:last-child, th:last-child { padding-right: 0 }
code { font: .8125rem/1.6 ui-monospace, "SF Mono", "Liberation Mono", monospace; word-break: break-all }
time { white-space: nowrap }
.over { color: var(--bad) }
.outcome { border-left: 4px solid var(--good) }
.outcome.bad { border-left-color: var(--bad) }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 1rem; padding: 0; list-style: none }
.hero .chips { justify-content: center }
.chips li { padding: .15rem .65rem; color: var(--soft); background: var(--tint); border-radius: 99px; font-size: .8125rem }
.chips b { color: var(--ink) }
.log { margin: 0; padding: 0; list-style: none; max-height: 22rem; overflow-y: auto }
.log li { display: grid; grid-template-columns: max-content 4rem minmax(0, 1fr); gap: .9rem; padding: .3rem 0;
  border-top: 1px solid var(--line); font-size: .875rem }
.log li:first-child { border-top: 0 }
.log span { color: var(--soft); font-variant-numeric: tabular-nums }
.log .WARN, .log .ERROR { color: var(--bad) }
footer { color: var(--soft); font-size: .875rem; text-align: center }
footer ul.chips { justify-content: center; margin: 0 }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr } dt { margin-top: .4rem } .hero { margin: 2vh auto } }
`

/** Of elements such as <time data-ends="1700000000000">. */
export const countdown = `
const tick = () => {
  for (const element of document.querySelectorAll("time[data-ends]")) {
    const left = Math.ceil((Number(element.dataset.ends) - Date.now()) / 1000)
    element.textContent = left <= 0 ? "over" : left < 120 ? left + " s" : Math.floor(left / 60) + " min"
    element.classList.toggle("over", left <= 0)
  }
}
tick()
setInterval(tick, 250)
`
