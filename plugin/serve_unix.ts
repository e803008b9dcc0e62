/**
 * HTTP on a Unix socket that only its owner can reach (placed_socket.ts).
 *
 * @module
 */
import { KeptServer, type Listening } from "./keep_serving.ts";
import { placeSocket, requireFreeSocket } from "./placed_socket.ts";

/** Handles requests; a Hono app. */
export interface FetchHandler {
  fetch(request: Request): Response | Promise<Response>;
}

/** A running HTTP server on a Unix socket. */
export interface UnixServer extends AsyncDisposable {
  readonly path: string;
  /** Resolves once nothing is served any more. */
  readonly finished: Promise<void>;
  /** Accepts no new calls, waits for running ones, at most {@link STOP_GRACE_MS}, then aborts them. */
  stop(): Promise<void>;
}

/** How long running calls may take after a stop. */
const STOP_GRACE_MS = 10_000;

/**
 * Serves `app` at `path` with mode 0600. Creates the folder if it is missing.
 *
 * @param option command-line option of the path, for hints
 * @throws {NydusGdError} "busy" if another process serves the socket, "usage" if the path is too long or not a socket
 */
export async function serveUnix(path: string, app: FetchHandler, option = "--socket"): Promise<UnixServer> {
  await requireFreeSocket(path, option);
  const listen = () => listenAt(path, app);
  return new EndpointServer(path, new KeptServer(await listen(), listen, path));
}

/** A listening socket and its server. */
interface Endpoint extends Listening {
  readonly server: Deno.HttpServer;
  /** Removes the socket. */
  remove(): Promise<void>;
}

async function listenAt(path: string, app: FetchHandler): Promise<Endpoint> {
  const abort = new AbortController();
  try {
    const { listener: server, remove } = await placeSocket(path, (early) => {
      const server = Deno.serve(
        { path: early, signal: abort.signal, onListen: () => {} },
        (request) => app.fetch(request),
      );
      server.finished.catch(() => {}); // it may fail before the caller awaits it, who reports that
      return server;
    });
    return { server, remove, abort };
  } catch (error) {
    abort.abort();
    throw error;
  }
}

class EndpointServer implements UnixServer {
  #stopping: Promise<void> | undefined;

  constructor(readonly path: string, private readonly kept: KeptServer<Endpoint>) {}

  get finished(): Promise<void> {
    return this.kept.finished;
  }

  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    const endpoint = this.kept.release();
    if (endpoint !== undefined) await this.#end(endpoint);
    await this.finished;
  }

  async #end({ server, remove, abort }: Endpoint): Promise<void> {
    await remove();
    const timer = setTimeout(() => abort.abort(), STOP_GRACE_MS);
    try {
      await server.shutdown();
      await Promise.allSettled([server.finished]);
    } finally {
      clearTimeout(timer);
    }
  }
}
