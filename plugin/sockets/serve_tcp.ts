/**
 * HTTP on a TCP port (setting `metrics.listen`).
 *
 * @module
 */
import { messageOf, NydusGdError } from "../../lib/base/errors.ts";
import { KeptServer, type Listening } from "./keep_serving.ts";
import type { FetchHandler } from "./serve_unix.ts";

/** An HTTP server on a TCP port. Disposing stops it and aborts running calls. */
export interface TcpServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Serves `app`.
 *
 * @param address "127.0.0.1:9100", "[::1]:9100"; port 0 picks a free one
 * @throws {NydusGdError} "environment" if the address cannot be bound
 */
export function serveTcp(address: string, app: FetchHandler): TcpServer {
  const colon = address.lastIndexOf(":");
  const hostname = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  const port = Number(address.slice(colon + 1));
  let first: TcpListening;
  try {
    first = listenOn(hostname, port, app);
  } catch (error) {
    throw new NydusGdError("environment", `Cannot listen on ${address}: ${messageOf(error)}`, {
      hint: "choose another metrics.listen",
      cause: error,
    });
  }
  const taken = first.server.addr.port;
  const kept = new KeptServer(first, () => Promise.resolve().then(() => listenOn(hostname, taken, app)), address);
  return {
    port: taken,
    async [Symbol.asyncDispose]() {
      kept.release()?.abort.abort();
      await kept.finished;
    },
  };
}

interface TcpListening extends Listening {
  readonly server: Deno.HttpServer<Deno.NetAddr>;
}

function listenOn(hostname: string, port: number, app: FetchHandler): TcpListening {
  const abort = new AbortController();
  const options = { hostname, port, signal: abort.signal, onListen: () => {} };
  return { server: Deno.serve(options, (request) => app.fetch(request)), abort };
}
