/**
 * Public keys for which signatures can be made without the private key, or with little effort.
 */
import { bytesOf } from "./base64url.ts"

const withoutZeros = (bytes: Uint8Array): Uint8Array => {
  const first = bytes.findIndex((byte) => byte !== 0)
  return first === -1 ? new Uint8Array() : bytes.subarray(first)
}

const isEven = (bytes: Uint8Array): boolean => ((bytes.at(-1) ?? 0) & 1) === 0

/** RFC 8017 section 3.1, RFC 7518 section 3.3. Zeros in front of a number are not counted. */
const rsaWeakness = (n: string, e: string): string | undefined => {
  const modulus = withoutZeros(bytesOf(n))
  const bits = modulus.length === 0 ? 0 : modulus.length * 8 - Math.clz32(modulus[0]!) + 24
  if (bits < 2048) return `an RSA key of ${bits} bits, which is less than 2048 bits`
  if (isEven(modulus)) return "an RSA key with an even modulus"
  const exponent = withoutZeros(bytesOf(e))
  // With the exponent 1 a padded hash is its own signature.
  return isEven(exponent) || (exponent.length === 1 && exponent[0]! < 3)
    ? "an RSA key with an exponent that is even or below 3"
    : undefined
}

/**
 * The points of orders 1, 2, 4 and 8, in every encoding, without their sign bit: one signature of such a key fits one message
 * in eight, or all of them.
 */
const smallOrder: ReadonlyArray<Uint8Array> = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`
].map((hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)))

const isSmallOrder = (x: string): boolean => {
  const point = bytesOf(x)
  point[31]! &= 0x7f
  return smallOrder.some((weak) => weak.every((byte, index) => byte === point[index]))
}

/**
 * @internal What a key is, where it is too weak; its members have the lengths of their kind. WebCrypto refuses points that are
 * not on their curve, and accepts all of these.
 */
export const weakness = ({ e, kty, n, x }: Readonly<Record<string, unknown>>): string | undefined => {
  if (kty === "RSA" && typeof n === "string" && typeof e === "string") return rsaWeakness(n, e)
  return kty === "OKP" && typeof x === "string" && isSmallOrder(x) ? "an Ed25519 key of small order" : undefined
}
