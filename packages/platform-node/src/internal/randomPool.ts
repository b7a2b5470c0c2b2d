import { randomBytes, randomFillSync } from "node:crypto"

/** One call to the operating system costs as much as the bytes for a hundred identifiers. */
const poolSize = 4096

/** @internal Cryptographic randomness, fetched in stock. No byte is handed out twice. */
export const make = (): (bytes: number) => Buffer => {
  const pool = Buffer.allocUnsafeSlow(poolSize)
  let used = poolSize
  return (bytes) => {
    if (bytes > poolSize) return randomBytes(bytes)
    if (used + bytes > poolSize) {
      randomFillSync(pool)
      used = 0
    }
    // A copy: who has it may keep it, while the pool is filled anew.
    const taken = Buffer.from(pool.subarray(used, used + bytes))
    // What was handed out is not to be found here.
    pool.fill(0, used, used + bytes)
    used += bytes
    return taken
  }
}
