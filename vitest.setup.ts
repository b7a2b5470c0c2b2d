import { addEqualityTesters } from "@effect/vitest"

// `toEqual` and friends compare Effect's data types by their own Equal.
addEqualityTesters()
