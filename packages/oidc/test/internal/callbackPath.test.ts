import { assert, describe, it } from "@effect/vitest"
import { isAddressOf, isAt, ofClient, plainPath } from "../../src/internal/browser/callbackPath.ts"

describe("plainPath", () => {
  for (
    const [address, expected] of [
      ["/auth/callback", "/auth/callback"],
      ["/Auth//Callback/?code=1#a", "/auth/callback"],
      ["/auth/%63allback", "/auth/callback"],
      ["/auth/%C3%BC", "/auth/%c3%bc"],
      ["/", ""]
    ] as const
  ) {
    it(`reads ${address} as a router does`, () => assert.strictEqual(plainPath(address), expected))
  }
})

describe("ofClient", () => {
  for (
    const [path, name, expected] of [
      ["/auth/callback", "acme", "/auth/callback"],
      ["/auth/callback/:client", "acme", "/auth/callback/acme"],
      ["/auth/:client/callback", "a/b ü(1)*'!", "/auth/a%2Fb%20%C3%BC%281%29%2A%27%21/callback"],
      ["/auth/:client", "$&", "/auth/%24%26"],
      ["/auth/:clients", "acme", "/auth/:clients"],
      ["/auth/:client", "", undefined],
      ["/auth/:client", ".", undefined],
      ["/auth/:client", "..", undefined],
      ["/auth/:client", "...", "/auth/..."],
      ["/auth/:client", "\ud800", undefined],
      ["/auth/:client", "a".repeat(101), undefined]
    ] as const
  ) {
    it(`of ${path} and ${JSON.stringify(name)}`, () => assert.strictEqual(ofClient(path, name), expected))
  }
})

describe("isAt", () => {
  for (
    const [path, address, expected] of [
      ["/auth/callback", "/auth/callback?code=1", true],
      ["/auth/callback", "/prefix/auth/CALLBACK/?code=1", true],
      ["/auth/callback", "/auth/callback/acme?code=1", false],
      ["/auth/callback/:client", "/auth/callback/acme?code=1", true],
      ["/auth/callback/:client", "/prefix/auth/callback/a%2Fb?code=1", true],
      ["/auth/:client/callback", "/auth/acme/callback/?code=1", true],
      ["/auth/:client/callback", "/auth/acme/other?code=1", false],
      ["/auth/callback/:client", "/other/acme", false],
      ["/auth/callback", "/auth/callback;a=1?code=1", true],
      ["/auth/callback", "/auth/callback;code=1/x", true],
      ["/auth/callback", "/auth;a=1/callback?code=1", true],
      ["/auth/callback", "/auth\\callback?code=1", true],
      ["/auth/callback", "/auth/./x/../callback/.?code=1", true],
      ["/auth/callback/:client", "/auth/callback/acme;a?code=1", true],
      ["/auth/callback", "/auth/callbacks?code=1", false],
      ["/", "/?code=1", true],
      ["/", "/other?code=1", false]
    ] as const
  ) {
    it(`of ${path} for ${address}`, () => assert.strictEqual(isAt(path)(address), expected))
  }
})

describe("isAddressOf", () => {
  const publicUrl = new URL("https://app.example.com")
  for (
    const [path, expected] of [
      ["/auth/callback", true],
      ["/auth/callback?code=1", true],
      ["/auth/../auth/callback", true],
      ["/auth/callback/", false],
      ["/auth/Callback", false],
      ["auth/callback", false],
      ["//app.example.com/auth/callback", true],
      ["//evil.example/auth/callback", false],
      ["https://app.example.com/auth/callback", false],
      ["/\\evil.example/auth/callback", false],
      ["//", false],
      ["", false]
    ] as const
  ) {
    it(`for ${JSON.stringify(path)}`, () =>
      assert.strictEqual(isAddressOf("https://app.example.com/auth/callback", path, publicUrl), expected))
  }
})
