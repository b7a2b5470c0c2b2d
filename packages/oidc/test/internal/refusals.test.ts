import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import * as Refusals from "../../src/internal/refresh/refusals.ts"

const make = () => Refusals.make<Refusals.Failure>()

const later = { verdict: "Later", error: { _tag: "Down" } } as const

const subject = (lock = "one", address = "", refreshToken = "refresh-0"): Refusals.Subject => ({
  lock,
  address,
  refreshToken
})

describe("refusals", () => {
  it("that may pass double from a second to half a minute", () => {
    const refusals = make()
    let now = 0
    const pauses = Array.from({ length: 7 }, () => {
      refusals.add(subject(), later, now)
      let pause = 0
      while (refusals.current(subject(), now + pause) !== undefined) pause += 1000
      now += pause
      return pause
    })
    assert.deepStrictEqual(pauses, [1000, 2000, 4000, 8000, 16000, 30000, 30000])
  })

  it("last as long as the server says, half a minute at most", () => {
    const refusals = make()
    const after = (retryAfter: Duration.Duration) => ({ ...later, error: { _tag: "Down", retryAfter } })
    refusals.add(subject(), after(Duration.seconds(7)), 0)
    assert.isDefined(refusals.current(subject(), 6_999))
    assert.isUndefined(refusals.current(subject(), 7_000))
    refusals.add(subject(), after(Duration.hours(1)), 0)
    assert.isUndefined(refusals.current(subject(), 30_000))
  })

  it("are over after a success", () => {
    const refusals = make()
    refusals.add(subject(), later, 0)
    refusals.add(subject(), { ...later, verdict: "Misconfigured" }, 0)
    refusals.clear(subject())
    assert.isUndefined(refusals.current(subject(), 0))
  })

  it("of a dead refresh token never end; another refresh token starts afresh", () => {
    const refusals = make()
    refusals.add(subject(), { ...later, verdict: "Dead" }, 0)
    assert.isDefined(refusals.current(subject("one", "api"), Number.MAX_SAFE_INTEGER))
    assert.isUndefined(refusals.current(subject("one", "api", "refresh-1"), 0))
  })

  for (const [verdict, pause] of [["SignIn", 30_000], ["Misconfigured", 10_000]] as const) {
    it(`${verdict} concerns one resource, and lasts ${pause} ms`, () => {
      const refusals = make()
      refusals.add(subject("one", "api"), { ...later, verdict }, 0)
      assert.isUndefined(refusals.current(subject("one", "other"), 0))
      assert.isDefined(refusals.current(subject("one", "api"), pause - 1))
      assert.isUndefined(refusals.current(subject("one", "api"), pause))
    })
  }

  it("are of one session and client each, and bounded", () => {
    const refusals = make()
    for (let index = 0; index <= 10_000; index++) refusals.add(subject(String(index)), later, 0)
    assert.isUndefined(refusals.current(subject("0"), 0))
    assert.isDefined(refusals.current(subject("1"), 0))
    assert.isUndefined(refusals.current(subject("another"), 0))
  })
})
