/**
 * The token of a gRPC call, put on it by call credentials that belong to its channel. What the interceptor knows of the call
 * reaches them by the asynchronous context, in which grpc-js asks all credentials of a call.
 */
import { type AccessToken, expiryMillis } from "@effect-oauth/core/AccessToken"
import type { CredentialUnavailable } from "@effect-oauth/core/OAuthError"
import * as OAuthMetrics from "@effect-oauth/core/OAuthMetrics"
import { guarded, type RequestContext, type TokenRetriever } from "@effect-oauth/core/TokenRetriever"
import * as Headers from "@effect/platform/Headers"
import { CallCredentials, Metadata, status } from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import { AsyncLocalStorage } from "node:async_hooks"
import { tokenFailure } from "../tokenFailure.ts"

type CallMetadataOptions = Parameters<CallCredentials["generateMetadata"]>[0]

/** @internal Why a call has no token, as gRPC tells it. `cause` is the typed error, where there is one. */
export interface Failure {
  readonly code: status
  readonly details: string
  readonly cause: unknown
}

/** @internal What is known of a call, from attempt to attempt. */
export interface CallState {
  headers: Headers.Headers
  /** Where it goes, as soon as that is known. */
  url: string
  /** The token that went out last. */
  token: AccessToken | undefined
  /** The token to send next. */
  renewed: AccessToken | undefined
  failure: Failure | undefined
  /** Whether the credentials of a channel have taken care of it. */
  isTaken: boolean
  /** Who calls, if the call says so. */
  caller: Runtime.Runtime<never> | undefined
  /** What has to end when the call does. */
  readonly cancels: Set<() => void>
}

/** @internal */
export interface Tokens {
  readonly ofChannel: CallCredentials
  /** The credentials of a call that are shown its state. */
  readonly ofCall: (state: CallState, own: CallCredentials | undefined) => CallCredentials
  /** Those of calls that are made by this caller. */
  readonly ofCaller: (caller: Runtime.Runtime<never>) => CallCredentials
  /** Another token than the one that was refused; `undefined` if there is none, or not until the deadline. */
  readonly renew: (state: CallState, done: (token: AccessToken | undefined) => void) => void
}

/** @internal */
export const newState = (): CallState => ({
  headers: Headers.empty,
  url: "",
  token: undefined,
  renewed: undefined,
  failure: undefined,
  isTaken: false,
  caller: undefined,
  cancels: new Set()
})

const codes = {
  passing: status.UNAVAILABLE,
  lasting: status.UNAUTHENTICATED,
  interrupted: status.CANCELLED,
  defect: status.INTERNAL
}

const failureOf = (cause: Cause.Cause<unknown>, isRefusal: (error: unknown) => error is Error): Failure => {
  const { error, kind, text } = tokenFailure(cause, isRefusal)
  return { code: codes[kind], details: text, cause: error }
}

/** As grpc-js takes it from call credentials. */
const rejection = ({ cause, code, details }: Failure): Error => Object.assign(new Error(details, { cause }), { code })

const urlOf = ({ method_name, service_url }: CallMetadataOptions): string =>
  URL.canParse(method_name, service_url) ? new URL(method_name, service_url).href : service_url

const contextOf = (state: CallState, rejected: AccessToken | undefined): RequestContext => ({
  method: "POST",
  url: state.url,
  headers: state.headers,
  forceRenewal: rejected !== undefined,
  parameters: undefined,
  rejected
})

const noteUse = (token: AccessToken): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    OAuthMetrics.used.unsafeUpdate(1, [])
    if (token.expiresAt === undefined) return
    OAuthMetrics.secondsToExpiry.unsafeUpdate((expiryMillis(token) - now) / 1000, [])
  })

const metadataOf = (token: AccessToken): Metadata => {
  const metadata = new Metadata()
  // The guarded retriever gives no other token than one that a header can carry.
  metadata.set("authorization", `${token.type} ${Redacted.value(token.value)}`)
  return metadata
}

/** Credentials that ask `generate`, and compose with others as those of grpc-js do. */
class Generated extends CallCredentials {
  readonly #generate: (options: CallMetadataOptions) => Promise<Metadata>

  constructor(generate: (options: CallMetadataOptions) => Promise<Metadata>) {
    super()
    this.#generate = generate
  }
  override generateMetadata(options: CallMetadataOptions): Promise<Metadata> {
    return this.#generate(options)
  }
  override compose(other: CallCredentials): CallCredentials {
    return new Generated(async (options) => {
      const [metadata, more] = await Promise.all([this.generateMetadata(options), other.generateMetadata(options)])
      metadata.merge(more)
      return metadata
    })
  }
  override _equals(other: CallCredentials): boolean {
    return this === other
  }
}

/** Those of a call. Whatever they are composed with is asked in the context of the call, the channel's credentials above all. */
class Contextual extends CallCredentials {
  readonly #inner: CallCredentials
  readonly #around: (inner: CallCredentials, options: CallMetadataOptions) => Promise<Metadata>

  constructor(
    inner: CallCredentials,
    around: (inner: CallCredentials, options: CallMetadataOptions) => Promise<Metadata>
  ) {
    super()
    this.#inner = inner
    this.#around = around
  }
  override generateMetadata(options: CallMetadataOptions): Promise<Metadata> {
    return this.#around(this.#inner, options)
  }
  override compose(other: CallCredentials): CallCredentials {
    return new Contextual(this.#inner.compose(other), this.#around)
  }
  override _equals(other: CallCredentials): boolean {
    return this === other
  }
}

/** @internal */
export const makeTokens = <E, R, Refused extends Error>(options: {
  readonly retriever: TokenRetriever<E, R>
  /** Of calls that do not say who makes them. */
  readonly nobody: Runtime.Runtime<never>
  readonly allowInsecure: boolean
  readonly refusal: (reason: "InsecureChannel" | "BoundToken") => Refused
}): Tokens => {
  const { allowInsecure, nobody, refusal } = options
  const retriever = guarded(options.retriever)
  const calls = new AsyncLocalStorage<CallState | undefined>()
  const refused = new WeakSet<object>()
  const refuse = (reason: "InsecureChannel" | "BoundToken"): Refused => {
    const error = refusal(reason)
    refused.add(error)
    return error
  }
  const failed = (cause: Cause.Cause<unknown>): Failure =>
    failureOf(cause, (error): error is Error => error instanceof Error && refused.has(error))

  /** Runs outside the context of the call, so that what it starts for others does not hold on to it. */
  const run = <A, E1>(
    state: CallState,
    effect: Effect.Effect<A, E1, R>,
    done: (exit: Exit.Exit<A, E1>) => void
  ): void =>
    calls.run(undefined, () => {
      const running: { cancel?: () => void } = {}
      // What the caller does not bring is not there, and the retriever fails for want of it.
      const runtime = (state.caller ?? nobody) as Runtime.Runtime<R>
      const cancel = Runtime.runCallback(runtime)(effect, {
        onExit: (exit) => {
          if (running.cancel !== undefined) state.cancels.delete(running.cancel)
          running.cancel = () => {}
          done(exit)
        }
      })
      // A token that is at hand has come before this.
      if (running.cancel !== undefined) return
      running.cancel = cancel
      state.cancels.add(cancel)
    })

  const get = (state: CallState): Effect.Effect<AccessToken, E | CredentialUnavailable | Refused, R> =>
    Effect.suspend(() => {
      const { renewed } = state
      return renewed === undefined ? retriever(contextOf(state, undefined)) : Effect.succeed(renewed)
    }).pipe(
      Effect.filterOrFail(({ type }) => type !== "DPoP", () => refuse("BoundToken")),
      Effect.tap((token) => {
        state.token = token
        return noteUse(token)
      })
    )

  const generate = (state: CallState, callOptions: CallMetadataOptions): Promise<Metadata> => {
    state.isTaken = true
    state.url = urlOf(callOptions)
    state.token = undefined
    return new Promise((resolve, reject) =>
      run(state, get(state), (exit) => {
        if (Exit.isSuccess(exit)) return resolve(metadataOf(exit.value))
        state.failure = failed(exit.cause)
        reject(rejection(state.failure))
      })
    )
  }

  const insecure = (state: CallState): Promise<Metadata> => {
    state.failure = failed(Cause.fail(refuse("InsecureChannel")))
    return Promise.reject(rejection(state.failure))
  }

  return {
    ofChannel: new Generated((callOptions) => generate(calls.getStore() ?? newState(), callOptions)),
    ofCall: (state, own) =>
      new Contextual(own ?? CallCredentials.createEmpty(), async (inner, callOptions) => {
        state.isTaken = false
        state.failure = undefined
        const metadata = await calls.run(state, () => inner.generateMetadata(callOptions))
        if (state.isTaken) return metadata
        if (!allowInsecure) return insecure(state)
        metadata.merge(await generate(state, callOptions))
        return metadata
      }),
    ofCaller: (caller) =>
      new Contextual(CallCredentials.createEmpty(), (inner, callOptions) => {
        const state = calls.getStore() ?? newState()
        state.caller = caller
        return calls.run(state, () => inner.generateMetadata(callOptions))
      }),
    renew: (state, done) => {
      const { token } = state
      if (token === undefined) return done(undefined)
      run(state, retriever(contextOf(state, token)), (exit) => done(Exit.isSuccess(exit) ? exit.value : undefined))
    }
  }
}
