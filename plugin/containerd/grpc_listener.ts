/**
 * Accepts connections on a Unix socket for a gRPC server.
 *
 * The library listens by itself on the runtime's `node:net`, which stops accepting for good, without any event, once an
 * accept fails because the process is out of file descriptors. Here a failed accept is repeated: clients wait in the
 * meantime.
 *
 * @module
 */
import type { Server } from "@grpc/grpc-js";
import { ServerCredentials } from "@grpc/grpc-js";
import { Duplex } from "node:stream";
import type { ReadableStream, WritableStream } from "node:stream/web";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../lib/base/errors.ts";
import { logger } from "../../lib/base/log.ts";

const log = logger("containerd");

/** Delay between attempts to accept. */
const PAUSE_MS = 250;

/** A listening socket whose connections a gRPC server gets. */
export class GrpcListener {
  readonly #listener: Deno.UnixListener;
  #isClosed = false;
  #lastFailure: string | undefined;

  /** Listens at `path`; the server has all its services by then. */
  constructor(path: string, server: Server) {
    this.#listener = Deno.listen({ transport: "unix", path });
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#accept((connection) => injector.injectConnection(duplexOf(connection)));
  }

  /** Accepts no further connections; those that there are stay. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
  }

  async #accept(use: (connection: Deno.UnixConn) => void): Promise<void> {
    while (!this.#isClosed) {
      try {
        use(await this.#listener.accept());
        this.#lastFailure = undefined;
      } catch (error) {
        if (!this.#isClosed) await this.#pauseAfter(error);
      }
    }
  }

  /** Logs each kind of failure once. */
  async #pauseAfter(error: unknown): Promise<void> {
    const reason = messageOf(error);
    if (reason !== this.#lastFailure) log.error("cannot accept connections of containerd, trying again", { reason });
    this.#lastFailure = reason;
    await delay(PAUSE_MS);
  }
}

/** The connection in the form of the library. A connection that breaks ends with its calls. */
function duplexOf({ readable, writable }: Deno.UnixConn): Duplex {
  const duplex = Duplex.fromWeb({ readable: readable as ReadableStream, writable: writable as WritableStream });
  duplex.on("error", (error) => log.debug("connection ended", { reason: messageOf(error) }));
  return duplex;
}
