/**
 * HTTP on a Unix socket that only its owner can reach.
 *
 * The socket is created in a private folder next to its path, gets its mode, and is renamed over the path. So it is
 * never reachable with another mode, and a stale socket is replaced atomically. A socket that accepts connections
 * belongs to another process and is left alone.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { ignore, NydusGdError } from "../lib/base/errors.ts";
import { KeptServer, type Listening } from "./keep_serving.ts";

/** Handles requests; a Hono app. */
export interface FetchHandler {
  fetch(request: Request): Response | Promise<Response>;
}

/** A running HTTP server on a Unix socket. */
export interface UnixServer extends AsyncDisposable {
  readonly path: string;
  /** Resolves once nothing is served any more. */
  readonly finished: Promise<void>;
  /** Accepts no new calls, waits up to `graceMs` for running ones, then aborts them. */
  stop(graceMs?: number): Promise<void>;
}

/** How long running calls may take after a stop. */
const STOP_GRACE_MS = 10_000;

/** sun_path holds 108 bytes, including the NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/**
 * Serves `app` at `path` with mode 0600. Creates the folder if it is missing.
 *
 * @param option command-line option of the path, for hints
 * @throws {NydusGdError} "busy" if another process serves the socket, "usage" if the path is too long or not a socket
 */
export async function serveUnix(path: string, app: FetchHandler, option = "--socket"): Promise<UnixServer> {
  if (new TextEncoder().encode(path).length > MAX_SOCKET_PATH_BYTES) {
    throw new NydusGdError("usage", `Cannot listen on "${path}": name exceeds ${MAX_SOCKET_PATH_BYTES} bytes`);
  }
  await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await requireFree(path, option);
  const listen = () => listenAt(path, app);
  return new EndpointServer(path, new KeptServer(await listen(), listen, path));
}

/** A listening socket and its server. */
interface Endpoint extends Listening {
  readonly server: Deno.HttpServer;
  /** Inode of the socket. Another socket at the same path must not be removed. */
  readonly inode: number | null;
}

async function listenAt(path: string, app: FetchHandler): Promise<Endpoint> {
  const folder = await makePrivateFolder(dirname(path), basename(path).length);
  const early = join(folder, "s");
  const abort = new AbortController();
  try {
    const server = Deno.serve(
      { path: early, signal: abort.signal, onListen: () => {} },
      (request) => app.fetch(request),
    );
    server.finished.catch(() => {}); // it may fail before the caller awaits it, who reports that
    await Deno.chmod(early, 0o600);
    const { ino } = await Deno.lstat(early);
    await Deno.rename(early, path);
    return { server, inode: ino, abort };
  } catch (error) {
    abort.abort();
    await ignore(Deno.errors.NotFound, Deno.remove(early));
    throw error;
  } finally {
    await Deno.remove(folder);
  }
}

class EndpointServer implements UnixServer {
  #stopping: Promise<void> | undefined;

  constructor(readonly path: string, private readonly kept: KeptServer<Endpoint>) {}

  get finished(): Promise<void> {
    return this.kept.finished;
  }

  stop(graceMs = STOP_GRACE_MS): Promise<void> {
    return this.#stopping ??= this.#stop(graceMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(graceMs: number): Promise<void> {
    const endpoint = this.kept.release();
    if (endpoint !== undefined) await this.#end(endpoint, graceMs);
    await this.finished;
  }

  async #end({ server, inode, abort }: Endpoint, graceMs: number): Promise<void> {
    const info = await ignore(Deno.errors.NotFound, Deno.lstat(this.path));
    if (info?.isSocket && info.ino === inode) await ignore(Deno.errors.NotFound, Deno.remove(this.path));
    const timer = setTimeout(() => abort.abort(), graceMs);
    try {
      await server.shutdown();
      await Promise.allSettled([server.finished]);
    } finally {
      clearTimeout(timer);
    }
  }
}

async function requireFree(path: string, option: string): Promise<void> {
  const info = await ignore(Deno.errors.NotFound, Deno.lstat(path));
  if (info === undefined) return;
  if (!info.isSocket) {
    throw new NydusGdError("usage", `Cannot listen on "${path}": a file that is not a socket is there`);
  }
  const connection = await ignore(
    [Deno.errors.ConnectionRefused, Deno.errors.NotFound],
    Deno.connect({ transport: "unix", path }),
  );
  if (connection === undefined) return;
  connection.close();
  throw new NydusGdError("busy", `Cannot listen on "${path}": another process serves it`, {
    hint: `stop it (systemctl stop nydus-gd), or choose another ${option}`,
  });
}

/**
 * Makes a folder of mode 0700 with a name so short that the socket's path in it is, if possible, no longer than the
 * final one.
 */
async function makePrivateFolder(parent: string, nameLength: number): Promise<string> {
  const random = crypto.randomUUID().replaceAll("-", "");
  const folder = join(parent, `.${random.slice(0, Math.min(12, Math.max(4, nameLength - 3)))}`);
  await Deno.mkdir(folder, { mode: 0o700 });
  return folder;
}
