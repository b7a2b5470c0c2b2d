/**
 * The simulated world of one run: its processes, and the calls that they make to the store and the authorization server.
 * Every call is a yield point with a number, at which a schedule may decide what happens. A run is a function of its
 * scenario and schedule alone.
 */
import { Effect } from "effect"
import { type ProcessClock, type ProcessScheduler, Timeline } from "./virtualClock.ts"

export type Service = "store" | "server"

/**
 * What can happen at a yield point.
 *
 * - `fail`: the service refuses, and has done nothing. `refused`: no connection; provably nothing was sent.
 * - `bare400`, `bare401`: the server answers with this status and no body.
 * - `lost`: the service does the work, and its answer is an error of the connection.
 * - `hang`: nothing is done, and no answer comes. `silent`: the work is done, and no answer comes.
 * - `late`, `later`: the work is done, the answer takes 700 ms or 7 s. `delayed`, `delayedMore`: the work too.
 * - `outage`, `blackout`: for 30 s the service fails, or does not answer.
 * - `interrupt`: the operation that is under way. `close`: the Layers of the process. `kill`: the process, with the work done.
 * - `pause`: the process does not run for 20 s.
 * - `forward`, `back`: the wall clock of the process is set by an hour.
 * - `hold`: this call waits until the other process has passed so many yield points.
 */
export const kinds = {
  fail: ["store", "server"],
  refused: ["server"],
  bare400: ["server"],
  bare401: ["server"],
  lost: ["store", "server"],
  hang: ["store", "server"],
  silent: ["store", "server"],
  late: ["store", "server"],
  later: ["store", "server"],
  delayed: ["store", "server"],
  delayedMore: ["store", "server"],
  outage: ["store", "server"],
  blackout: ["store", "server"],
  interrupt: ["store", "server"],
  close: ["store", "server"],
  kill: ["store", "server"],
  pause: ["store", "server"],
  forward: ["store", "server"],
  back: ["store", "server"],
  hold: ["store", "server"]
} as const satisfies Record<string, ReadonlyArray<Service>>

export type Kind = keyof typeof kinds

export interface Decision {
  readonly at: number
  readonly kind: Kind
  /** Of `hold`: how many yield points. */
  readonly points?: number | undefined
}

/** Why a call has no result. */
export type Failure = "fail" | "refused" | "bare400" | "bare401" | "lost"

/** A process, as the world sees it. */
export interface Host {
  readonly name: string
  readonly scheduler: ProcessScheduler
  readonly clock: ProcessClock
  readonly isKilled: boolean
  readonly hasEndedEarly: boolean
  readonly isBusy: boolean
  points: number
  /** Breaks off each call that has no answer. */
  readonly pending: Set<() => void>
  readonly interrupt: () => void
  readonly close: () => void
  readonly kill: () => void
}

export interface Call<A, E> {
  readonly host: Host
  readonly service: Service
  readonly label: string
  readonly work: () => A
  readonly failed: (failure: Failure) => Effect.Effect<A, E>
  /** The work is done, and no answer to it comes. */
  readonly unanswered?: (() => void) | undefined
  /** The answer has reached the process. */
  readonly answered?: ((answer: A) => void) | undefined
}

export interface Point {
  readonly number: number
  readonly host: string
  readonly service: Service
  readonly label: string
}

/** What does not touch the call itself. */
const harmless: ReadonlySet<Kind> = new Set(["interrupt", "close", "pause", "forward", "back", "hold"])

const latency: Record<Service, number> = { store: 1, server: 4 }
const outageLength = 30_000
const longestHold = 8000

/** So long a step of a store is waited for by default. */
const storeTimeout = 500

/** So many promises in a row may lie between two tasks of a process. */
const promiseHops = 5

interface Hold {
  readonly other: Host
  readonly target: number
  readonly release: () => void
}

export class World {
  readonly timeline = new Timeline()
  readonly hosts: Array<Host> = []
  readonly points: Array<Point> = []
  readonly trace: Array<string> = []
  /** How often each kind of fault took effect. */
  readonly faults = new Map<Kind, number>()
  /** Yield points are numbered, and decided upon, only between setup and end. */
  isExploring = false
  /** A call to the store did not go as it should. */
  hasStoreFailed = false
  readonly #outages: Record<Service, { until: number; silent: boolean }> = {
    store: { until: 0, silent: false },
    server: { until: 0, silent: false }
  }
  #holds: ReadonlyArray<Hold> = []
  #afterOutage: Array<() => void> = []

  constructor(readonly decisions: ReadonlyArray<Decision>, readonly isTracing: boolean) {}

  get now(): number {
    return this.timeline.now
  }

  log(text: () => string): void {
    if (this.isTracing) this.trace.push(`${String(this.now).padStart(7)} ms  ${text()}`)
  }

  isOut(service: Service): boolean {
    return this.#outages[service].until > this.now
  }

  /** Runs `work` when the store can be reached again. */
  whenStoreIsBack(work: () => void): void {
    this.#afterOutage.push(work)
  }

  /** Everything works again, but for what has happened already. */
  endFaults(): void {
    this.isExploring = false
    for (const outage of Object.values(this.#outages)) outage.until = this.now
    for (const hold of this.#holds) hold.release()
    this.#holds = []
    this.#storeIsBack()
  }

  /** Runs all processes until this holds, or until `limit`. Whether it does hold. */
  async run(until: () => boolean, limit: number): Promise<boolean> {
    for (;;) {
      await this.#settle()
      if (until()) return true
      if (!this.timeline.step(limit)) {
        await this.#settle()
        return until()
      }
    }
  }

  /** Runs all processes for so long, and up to the last task of that moment. */
  async advance(millis: number): Promise<void> {
    await this.run(() => false, this.now + millis)
  }

  /** Runs what can run at this moment, callbacks of promises included. */
  async #settle(): Promise<void> {
    for (let quiet = 0; quiet < promiseHops;) {
      quiet = this.#drain() ? 0 : quiet + 1
      await undefined
    }
  }

  call<A, E>(call: Call<A, E>): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      // What a process that was killed does when it is cleared away is not part of the run.
      if (call.host.isKilled) return resume(call.failed("lost"))
      let isWaiting = true
      const breakOff = () => {
        if (isWaiting) resume(call.failed("lost"))
        isWaiting = false
      }
      call.host.pending.add(breakOff)
      const decision = this.#decide(call)
      const done = (answer: () => Effect.Effect<A, E>, delay: number) =>
        this.timeline.after(delay, () => {
          if (!isWaiting || call.host.isKilled) return
          isWaiting = false
          call.host.pending.delete(breakOff)
          resume(answer())
        })
      const succeed = (delay: number, answerAfter: number) =>
        this.timeline.after(delay, () => {
          const answer = call.work()
          done(() => {
            call.answered?.(answer)
            return Effect.succeed(answer)
          }, answerAfter)
        })
      this.#perform(call, decision, succeed, (failure, delay) => done(() => call.failed(failure), delay))
      return Effect.sync(() => {
        isWaiting = false
        call.host.pending.delete(breakOff)
        this.log(() => `${call.host.name} no longer waits for ${call.service} ${call.label}`)
      })
    })
  }

  #perform<A, E>(
    call: Call<A, E>,
    decision: Decision | undefined,
    succeed: (delay: number, answerAfter: number) => void,
    fail: (failure: Failure, delay: number) => void
  ): void {
    const { host, service } = call
    if (service === "store" && decision !== undefined && !harmless.has(decision.kind)) this.hasStoreFailed = true
    const half = latency[service] / 2
    const normally = () => {
      const outage = this.#outages[service]
      if (outage.until <= this.now) return void succeed(half, half)
      if (service === "store") this.hasStoreFailed = true
      if (!outage.silent) fail(service === "server" ? "refused" : "fail", half)
    }
    switch (decision?.kind) {
      case undefined:
        return normally()
      case "fail":
      case "refused":
      case "bare400":
      case "bare401":
        return fail(decision.kind, 2 * half)
      case "lost":
        call.unanswered?.()
        this.timeline.after(half, call.work)
        return fail("lost", 2 * half)
      case "hang":
        return
      case "silent":
        call.unanswered?.()
        this.timeline.after(half, call.work)
        return
      case "late":
        return void succeed(half, 700)
      case "later":
        return void succeed(half, 7000)
      case "delayed":
        return void succeed(700, half)
      case "delayedMore":
        return void succeed(7000, half)
      case "outage":
      case "blackout": {
        const silent = decision.kind === "blackout"
        this.#outages[service] = { until: this.now + outageLength, silent }
        if (service === "store") this.timeline.after(outageLength, () => this.#storeIsBack())
        return normally()
      }
      case "interrupt":
        host.interrupt()
        return normally()
      case "close":
        host.close()
        return normally()
      case "kill":
        this.timeline.after(half, () => {
          call.work()
          host.kill()
        })
        return
      case "pause":
        host.clock.pause(20_000)
        return normally()
      case "forward":
      case "back":
        host.clock.offset += decision.kind === "forward" ? 3_600_000 : -3_600_000
        return normally()
      case "hold":
        return this.#hold(host, decision.points ?? 1, normally, service)
    }
  }

  #decide(call: Call<any, any>): Decision | undefined {
    if (!this.isExploring) return undefined
    const number = this.points.length
    const { host, label, service } = call
    this.points.push({ number, host: host.name, service, label })
    host.points++
    const decision = this.decisions.find(({ at, kind }) =>
      at === number && (kinds[kind] as ReadonlyArray<Service>).includes(service)
    )
    if (decision !== undefined) this.faults.set(decision.kind, (this.faults.get(decision.kind) ?? 0) + 1)
    this.log(() =>
      `#${number} ${host.name} ${service} ${label}${decision === undefined ? "" : `  <== ${decision.kind}`}${
        decision === undefined && this.isOut(service) ? "  (out)" : ""
      }`
    )
    this.#releaseHolds()
    return decision
  }

  #hold(host: Host, points: number, release: () => void, service: Service): void {
    const other = this.hosts.find((one) => one !== host)
    if (other === undefined) return release()
    let isHeld = true
    const since = this.now
    const once = () => {
      // What is done so late, nobody waits for any more: it can be a lock that has been given back before.
      if (isHeld && service === "store" && this.now - since >= storeTimeout) this.hasStoreFailed = true
      if (isHeld) release()
      isHeld = false
    }
    this.#holds = [...this.#holds, { other, target: other.points + points, release: once }]
    this.timeline.after(longestHold, once)
  }

  #releaseHolds(): void {
    if (this.#holds.length === 0) return
    const isOver = ({ other, target }: Hold) => other.points >= target || !other.isBusy || other.isKilled
    for (const hold of this.#holds.filter(isOver)) hold.release()
    this.#holds = this.#holds.filter((hold) => !isOver(hold))
  }

  #storeIsBack(): void {
    if (this.isOut("store")) return
    const waiting = this.#afterOutage
    this.#afterOutage = []
    for (const work of waiting) work()
  }

  #drain(): boolean {
    let hasRun = false
    for (const { clock, scheduler } of this.hosts) {
      if (scheduler.isIdle || clock.isPaused) continue
      scheduler.drain()
      hasRun = true
    }
    if (hasRun) this.#releaseHolds()
    return hasRun
  }
}
