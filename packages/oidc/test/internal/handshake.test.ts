import { assert, describe, it } from "@effect/vitest"
import { isHandshake } from "../../src/internal/browser/handshake.ts"

const headers = {
  "upgrade": "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
}

const opens = (changed: Readonly<Record<string, string | undefined>>, method = "GET") =>
  isHandshake({ method, headers: { ...headers, ...changed } })

describe("a handshake of a WebSocket", () => {
  it("is known by its headers", () => {
    assert.isTrue(opens({}))
    assert.isTrue(opens({ upgrade: "WebSocket" }))
    for (const protocol of ["chat", "chat, superchat", "a\t ,b", "v1.rpc+json"]) {
      assert.isTrue(opens({ "sec-websocket-protocol": protocol }), protocol)
    }
  })

  it("is none where a header is missing, or says something else", () => {
    for (const name of Object.keys(headers)) assert.isFalse(opens({ [name]: undefined }), name)
    assert.isFalse(opens({}, "POST"))
    assert.isFalse(opens({ upgrade: "websocket, h2c" }))
    assert.isFalse(opens({ "sec-websocket-version": "8" }))
    for (
      const key of ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="]
    ) {
      assert.isFalse(opens({ "sec-websocket-key": key }), key)
    }
  })

  it("is none with protocols that a server would stumble over", () => {
    for (const protocols of ["", ",", "a,", ",a", "a,,b", "a, a", "a b", "a;b", "\u00a0a", "a\u00a0, b", "\"a\""]) {
      assert.isFalse(opens({ "sec-websocket-protocol": protocols }), JSON.stringify(protocols))
    }
  })
})
