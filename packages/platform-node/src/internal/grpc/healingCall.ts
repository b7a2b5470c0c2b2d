/**
 * One call of a client, which may be two on the wire: `UNAUTHENTICATED` is healed by another token.
 */
import type { AccessToken } from "@effect-oauth/core/AccessToken"
import { isSame } from "@effect-oauth/core/AccessToken"
import * as OAuthMetrics from "@effect-oauth/core/OAuthMetrics"
import * as UntrustedText from "@effect-oauth/core/UntrustedText"
import * as Headers from "@effect/platform/Headers"
import {
  InterceptingCall,
  type InterceptingListener,
  type Interceptor,
  type InterceptorOptions,
  Metadata,
  type NextCall,
  status,
  type StatusObject
} from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"
import { type CallState, newState, type Tokens } from "./callTokens.ts"

type Sending = ReturnType<NextCall>
type Context = Parameters<Sending["sendMessageWithContext"]>[0]
type Listener = Partial<InterceptingListener>

const headersOf = (metadata: Metadata): Headers.Headers =>
  Headers.fromInput(
    Object.entries(metadata.getMap()).filter((entry): entry is [string, string] => typeof entry[1] === "string")
  )

/** grpc-js prints the status of an error, in which a server may repeat the token. */
const withoutToken = (received: StatusObject, token: AccessToken | undefined): StatusObject => {
  if (token === undefined || received.code === status.OK) return received
  const secrets = [Redacted.value(token.value)]
  const metadata = received.metadata.clone()
  for (const [name, value] of Object.entries(metadata.getMap())) {
    if (typeof value === "string") metadata.set(name, UntrustedText.redact(value, secrets))
  }
  return { ...received, details: UntrustedText.redact(received.details, secrets), metadata }
}

/** What is sent of a call that has one message, kept so that it can be sent again. */
interface Kept {
  metadata: Metadata
  message: { readonly value: unknown } | undefined
  isClosed: boolean
}

class HealingCall implements Sending {
  readonly #options: InterceptorOptions
  readonly #next: NextCall
  readonly #tokens: Tokens
  readonly #heals: boolean
  readonly #state: CallState = newState()
  readonly #kept: Kept = { metadata: new Metadata(), message: undefined, isClosed: false }
  #sending: Sending
  #listener: Listener = {}
  /** The answer's metadata, held back until it is certain that this is the answer. */
  #held: Metadata | undefined
  #hasBegun = false
  #hasMessage = false
  #isReading = false
  #isHealing = false
  #isHealed = false
  #hasEnded = false
  #deadline: ReturnType<typeof setTimeout> | undefined

  constructor(options: InterceptorOptions, next: NextCall, tokens: Tokens, heals: boolean) {
    this.#options = options
    this.#next = next
    this.#tokens = tokens
    this.#heals = heals
    this.#sending = this.#newSending()
  }

  #newSending(): Sending {
    return this.#next({ ...this.#options, credentials: this.#tokens.ofCall(this.#state, this.#options.credentials) })
  }

  start(metadata: Metadata, listener: Listener = {}): void {
    this.#listener = listener
    this.#state.headers = headersOf(metadata)
    if (this.#heals) this.#kept.metadata = metadata.clone()
    this.#sending.start(metadata, this.#heard())
  }

  sendMessageWithContext(context: Context, message: unknown): void {
    if (this.#heals && this.#isRepeatable) this.#kept.message = { value: message }
    this.#sending.sendMessageWithContext(context, message)
  }

  sendMessage(message: unknown): void {
    this.sendMessageWithContext({}, message)
  }

  halfClose(): void {
    this.#kept.isClosed = true
    if (!this.#isHealing) this.#sending.halfClose()
  }

  startRead(): void {
    this.#isReading = true
    if (!this.#isHealing) this.#sending.startRead()
  }

  cancelWithStatus(code: status, details: string): void {
    if (this.#isHealing) return this.#end({ code, details, metadata: new Metadata() })
    this.#sending.cancelWithStatus(code, details)
  }

  getPeer(): string {
    return this.#sending.getPeer()
  }

  getAuthContext(): ReturnType<Sending["getAuthContext"]> {
    return this.#sending.getAuthContext()
  }

  /** Its messages are at hand: there is one, not a stream of them. */
  get #isRepeatable(): boolean {
    return !this.#options.method_definition.requestStream
  }

  get #isUnary(): boolean {
    return this.#isRepeatable && !this.#options.method_definition.responseStream
  }

  #heard(): InterceptingListener {
    return {
      onReceiveMetadata: (metadata) => {
        if (this.#isUnary) {
          this.#held = metadata
          return
        }
        this.#hasBegun = true
        this.#listener.onReceiveMetadata?.(metadata)
      },
      onReceiveMessage: (message) => {
        // Where one message is due, grpc-js reports its lack as a message before the status.
        if (message === null) return
        this.#hasBegun = true
        this.#hasMessage = true
        this.#isReading = false
        this.#release()
        this.#listener.onReceiveMessage?.(message)
      },
      onReceiveStatus: (received) => {
        if (!this.#isHealable(received)) return this.#end(received)
        this.#heal(received)
      }
    }
  }

  #release(): void {
    const metadata = this.#held
    this.#held = undefined
    if (metadata !== undefined) this.#listener.onReceiveMetadata?.(metadata)
  }

  /** Whether the server refused the token, and no other one has been tried. */
  #isHealable({ code }: StatusObject): boolean {
    const { failure, token } = this.#state
    return this.#heals && code === status.UNAUTHENTICATED && failure === undefined && token !== undefined &&
      !this.#isHealed
  }

  #heal(refused: StatusObject): void {
    const rejected = this.#state.token
    this.#isHealing = true
    this.#isHealed = true
    this.#watchDeadline()
    this.#tokens.renew(this.#state, (token) => {
      if (this.#hasEnded) return
      clearTimeout(this.#deadline)
      this.#isHealing = false
      if (token === undefined || rejected === undefined || isSame(token, rejected)) return this.#end(refused)
      if (this.#hasBegun || !this.#isRepeatable) return this.#end(refused)
      // A call that was made in answer to another one ends with it.
      if (this.#options.parent?.cancelled === true) {
        return this.#end({ code: status.CANCELLED, details: "Cancelled by parent call", metadata: new Metadata() })
      }
      this.#repeat(token)
    })
  }

  #watchDeadline(): void {
    const { deadline = Infinity } = this.#options
    const left = Number(deadline) - Date.now()
    // Node's timers know no longer ones.
    if (left > 2 ** 31 - 1) return
    this.#deadline = setTimeout(() => {
      this.#end({ code: status.DEADLINE_EXCEEDED, details: "Deadline exceeded", metadata: new Metadata() })
    }, Math.max(left, 0))
  }

  #repeat(token: AccessToken): void {
    const { isClosed, message, metadata } = this.#kept
    OAuthMetrics.retried.unsafeUpdate(1, [])
    this.#state.renewed = token
    this.#held = undefined
    this.#sending = this.#newSending()
    this.#sending.start(metadata, this.#heard())
    if (this.#isReading) this.#sending.startRead()
    if (message !== undefined) this.#sending.sendMessage(message.value)
    if (isClosed) this.#sending.halfClose()
  }

  #end(received: StatusObject): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearTimeout(this.#deadline)
    for (const cancel of this.#state.cancels) cancel()
    this.#state.cancels.clear()
    this.#release()
    const isLacking = !this.#hasMessage && !this.#options.method_definition.responseStream
    if (isLacking) this.#listener.onReceiveMessage?.(null)
    this.#listener.onReceiveStatus?.(withoutToken(this.#explained(received), this.#state.token))
  }

  /** grpc-js makes an error of the status with all of its fields. */
  #explained(received: StatusObject): StatusObject {
    const { failure } = this.#state
    return failure === undefined || failure.code !== received.code ? received : { ...received, ...failure }
  }
}

/** @internal */
export const intercept = (tokens: Tokens, heals: boolean): Interceptor => (options, next) =>
  new InterceptingCall(new HealingCall(options, next, tokens, heals))
