/** What a web process of these tests is told when it starts. */
export interface Settings {
  /** Where browsers find all of the processes. */
  readonly publicUrl: string
  /** Where this one listens. */
  readonly port: number
  readonly issuer: string
  /** On the way to the server. */
  readonly tokenEndpoint: string
  readonly clientSecret: string
  /** `id:key` pairs. */
  readonly encryptionKeys: string
  readonly store:
    | { readonly _tag: "redis"; readonly url: string }
    | { readonly _tag: "redis cluster"; readonly ports: ReadonlyArray<number> }
    | { readonly _tag: "postgres"; readonly port: number; readonly password: string }
  readonly resources: ReadonlyArray<string>
}
