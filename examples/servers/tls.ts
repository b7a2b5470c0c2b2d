/** TLS that asks its clients for certificates, and what it gets to see of them. */
import { createHash, type X509Certificate } from "node:crypto"
import type http from "node:http"
import https from "node:https"
import type { Socket } from "node:net"
import { TLSSocket } from "node:tls"
import type { Issued } from "./certificates.ts"

export interface TlsOptions {
  readonly certificate: Issued
  /** Ask for certificates of this authority, as PEM. A connection without one is made all the same. */
  readonly clientsOf?: string | undefined
}

export const createServer = ({ certificate, clientsOf }: TlsOptions): https.Server =>
  https.createServer({
    cert: certificate.certificate,
    key: certificate.key,
    ...(clientsOf === undefined ? {} : { ca: clientsOf, requestCert: true, rejectUnauthorized: false })
  })

const socketOf = ({ socket }: { readonly socket: Socket }): TLSSocket | undefined =>
  socket instanceof TLSSocket ? socket : undefined

/** The certificate that a connection was made with, if there was one. */
export const certificateOf = (request: http.IncomingMessage): X509Certificate | undefined =>
  socketOf(request)?.getPeerX509Certificate()

/** Whether the authority stands behind it. */
export const isTrusted = (request: http.IncomingMessage): boolean => socketOf(request)?.authorized === true

/** SHA-256 over the DER form, base64url (RFC 8705 section 3.1). */
export const thumbprintOf = (certificate: X509Certificate): string =>
  createHash("sha256").update(certificate.raw).digest("base64url")
