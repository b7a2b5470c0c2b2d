/**
 * An API in a process of its own, started by fork: it tells its port to the one who started it, and ends with it.
 */
import http from "node:http"
import type { AddressInfo } from "node:net"

const body = Buffer.from(`{"ok":true}`)

const server = http.createServer((request, response) => {
  request.resume()
  const status = request.headers.authorization === undefined ? 401 : 200
  response.writeHead(status, { "content-type": "application/json", "content-length": body.length })
  response.end(body)
})

server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port))
process.on("disconnect", () => process.exit())
