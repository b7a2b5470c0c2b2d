import * as effectEslint from "@effect/eslint-plugin"
import js from "@eslint/js"
import tseslint from "typescript-eslint"

const formatting = {
  indentWidth: 2,
  lineWidth: 120,
  semiColons: "asi",
  quoteStyle: "alwaysDouble",
  trailingCommas: "never",
  operatorPosition: "maintain",
  "arrowFunction.useParentheses": "force"
}

// A barrel pulls every module of its package into the program that imports it.
const barrels = [
  "effect",
  "@effect/platform",
  "@effect/platform-node",
  "@effect/experimental",
  "@effect/sql",
  "@effect/sql-pg"
].map(
  (name) => ({ name, message: `Import the module: import * as X from "${name}/X".` })
)

const restricted = (selector, message) => ({ selector, message })

export default tseslint.config(
  { ignores: ["**/dist/", "**/coverage/", "**/node_modules/"] },
  js.configs.recommended,
  tseslint.configs.recommended,
  effectEslint.configs.dprint,
  {
    rules: {
      "@effect/dprint": ["error", { config: formatting }],
      "object-shorthand": "error",
      "require-yield": "off",
      "no-restricted-syntax": [
        "error",
        restricted(
          "CallExpression[callee.property.name='push'] > SpreadElement.arguments",
          "A spread of many elements overflows the stack: push them one by one, or use concat."
        )
      ],
      "@typescript-eslint/array-type": ["error", { default: "generic", readonly: "generic" }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // a module's namespace of helper types, and the {} of Effect's own signatures
      "@typescript-eslint/no-namespace": "off",
      "@typescript-eslint/no-empty-object-type": "off",
      // Variance and type-level code need it; where it matters the Effect diagnostics report an "any".
      "@typescript-eslint/no-explicit-any": "off"
    }
  },
  {
    files: ["**/*.mjs"],
    languageOptions: { globals: { console: "readonly", process: "readonly", URL: "readonly" } }
  },
  {
    files: ["packages/*/src/**"],
    rules: {
      "no-console": "error",
      "no-restricted-imports": ["error", { paths: barrels }]
    }
  },
  {
    // These two run on any runtime with WebCrypto, and their clock, randomness and configuration are Effect's.
    files: ["packages/core/src/**", "packages/oidc/src/**"],
    rules: {
      "no-restricted-imports": ["error", {
        paths: barrels,
        patterns: [{
          group: ["node:*", "@effect/platform-node", "@effect/platform-node/*"],
          message: "This package runs on any runtime: what only Node has belongs to packages/platform-node."
        }]
      }],
      "no-restricted-syntax": [
        "error",
        restricted(
          "MemberExpression[object.name='Effect'][property.name=/^run(Sync|SyncExit|Promise|PromiseExit|Fork|Callback)$/]",
          "A library returns its effects; only the program at the edge runs them."
        ),
        restricted(
          "CallExpression[callee.object.name='Date'][callee.property.name='now']",
          "Take the time from Effect's Clock."
        ),
        restricted(
          "NewExpression[callee.name='Date'][arguments.length=0]",
          "Take the time from Effect's Clock."
        ),
        restricted(
          "MemberExpression[object.name='Math'][property.name='random']",
          "Use Effect's Random, or the Signer where it has to be unguessable."
        ),
        restricted(
          "MemberExpression[object.name='process'][property.name='env']",
          "Read configuration with Effect's Config."
        )
      ]
    }
  }
)
