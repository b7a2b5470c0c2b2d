import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import * as Backoffs from "../../src/internal/refresh/backoffs.ts"

const error = { retryable: true }

describe("backoffs", () => {
  it("double from a second to half a minute", () => {
    const backoffs = Backoffs.make()
    let now = 0
    const pauses = Array.from({ length: 7 }, () => {
      backoffs.failed("one", error, now)
      let pause = 0
      while (backoffs.current("one", now + pause) !== undefined) pause += 1000
      now += pause
      return pause
    })
    assert.deepStrictEqual(pauses, [1000, 2000, 4000, 8000, 16000, 30000, 30000])
  })

  it("last as long as the server says, half a minute at most", () => {
    const backoffs = Backoffs.make()
    backoffs.failed("one", { ...error, retryAfter: Duration.seconds(7) }, 0)
    assert.isDefined(backoffs.current("one", 6_999))
    assert.isUndefined(backoffs.current("one", 7_000))
    backoffs.failed("one", { ...error, retryAfter: Duration.hours(1) }, 0)
    assert.isUndefined(backoffs.current("one", 30_000))
  })

  it("are over after a success, and not begun by what waiting does not heal", () => {
    const backoffs = Backoffs.make<Backoffs.Failure>()
    backoffs.failed("one", error, 0)
    backoffs.succeeded("one")
    assert.isUndefined(backoffs.current("one", 0))
    backoffs.failed("one", { retryable: false }, 0)
    assert.isUndefined(backoffs.current("one", 0))
  })

  it("are of one session and client each, and bounded", () => {
    const backoffs = Backoffs.make()
    for (let index = 0; index <= 10_000; index++) backoffs.failed(String(index), error, 0)
    assert.isUndefined(backoffs.current("0", 0))
    assert.isDefined(backoffs.current("1", 0))
    assert.isUndefined(backoffs.current("another", 0))
  })
})
