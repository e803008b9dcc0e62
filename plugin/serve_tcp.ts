/**
 * HTTP on a TCP port, for those who ask for one (`metrics.listen`).
 *
 * @module
 */
import { messageOf, NydusGdError } from "../lib/base/errors.ts";
import type { FetchHandler } from "./serve_unix.ts";

/** A server on a port, until it is disposed; calls that run are ended then. */
export interface TcpServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Serves `app`.
 *
 * @param address "127.0.0.1:9100", "[::1]:9100"; port 0 takes a free one
 * @throws {NydusGdError} "environment" when nobody can listen there
 */
export function serveTcp(address: string, app: FetchHandler): TcpServer {
  const colon = address.lastIndexOf(":");
  const hostname = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  const port = Number(address.slice(colon + 1));
  const abort = new AbortController();
  try {
    const server = Deno.serve(
      { hostname, port, signal: abort.signal, onListen: () => {} },
      (request) => app.fetch(request),
    );
    return {
      port: server.addr.port,
      [Symbol.asyncDispose]: () => {
        abort.abort();
        return server.finished;
      },
    };
  } catch (error) {
    throw new NydusGdError("environment", `Cannot listen on ${address}: ${messageOf(error)}`, {
      hint: "choose another metrics.listen",
      cause: error,
    });
  }
}
