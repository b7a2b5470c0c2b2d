import { addEqualityTesters, assert } from "@effect/vitest"
import nodeAssert from "node:assert/strict"

// `toEqual` and friends compare Effect's data types by their own Equal.
addEqualityTesters()

// Chai compares what can be iterated by what it yields, and takes any two values of Option, Either and Effect for the same.
assert.deepStrictEqual = (actual, expected, message) => nodeAssert.deepStrictEqual(actual, expected, message)
