/**
 * Connection pools of an HTTP client.
 *
 * There is one pool per destination (host, port, proxy, TLS options). It keeps at most `parallelPerHost` idle
 * connections, each for {@link IDLE_CONNECTION_MS}. The client limits how many are in use at a time.
 *
 * @module
 */
import type { Socket } from "node:net";
import { type Destination, dial, type Dialing } from "./dial.ts";
import type { ProxyRoute } from "./proxy.ts";
import { isTunnel } from "./request_bytes.ts";
import { secureContext, tlsFor, type TlsOptions } from "./tls.ts";

/** How long an idle connection is kept: less than the idle timeout of common servers and load balancers. */
const IDLE_CONNECTION_MS = 50_000;

/** An idle connection. */
interface Idle {
  readonly socket: Socket;
  /** Removes the idle timer and listeners. */
  forget(): void;
}

/** The connections of one destination. */
export class ConnectionPool implements Disposable {
  readonly #idle: Idle[] = [];
  #closed = false;

  constructor(private readonly destination: Destination, private readonly most: number) {}

  /** Takes an idle connection; undefined if there is none. */
  takeIdle(): Socket | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      idle.forget();
      if (idle.socket.destroyed || !idle.socket.writable) continue;
      idle.socket.ref();
      return idle.socket;
    }
    return undefined;
  }

  /** Opens a new connection. */
  dial(): Dialing {
    return dial(this.destination);
  }

  /** Returns a connection whose last response is complete to the pool. */
  give(socket: Socket): void {
    if (this.#closed || this.#idle.length >= this.most || socket.destroyed || !socket.writable) {
      socket.destroy();
      return;
    }
    // Any event on an idle socket, including unexpected data, ends it.
    const drop = () => this.#drop(socket);
    const timer = setTimeout(drop, IDLE_CONNECTION_MS);
    Deno.unrefTimer(timer);
    const events = ["data", "end", "error", "close"] as const;
    for (const event of events) socket.on(event, drop);
    const forget = () => {
      clearTimeout(timer);
      for (const event of events) socket.off(event, drop);
    };
    socket.unref();
    this.#idle.push({ socket, forget });
  }

  /** Closes all idle connections: if the server has closed one, the others are likely stale too. */
  closeIdle(): void {
    for (const { socket } of [...this.#idle]) this.#drop(socket);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.closeIdle();
  }

  #drop(socket: Socket): void {
    const at = this.#idle.findIndex((idle) => idle.socket === socket);
    if (at < 0) return;
    this.#idle.splice(at, 1)[0]?.forget();
    socket.on("error", () => {}); // no one is waiting on it
    socket.destroy();
  }
}

/** All pools of a client. Disposing closes their idle connections. */
export class ConnectionPools implements Disposable {
  readonly #pools = new Map<string, ConnectionPool>();

  /** @param most maximum idle connections per destination */
  constructor(private readonly most: number) {}

  /** Returns the pool for requests to `url`, either through a proxy or over the Unix socket at path `way`. */
  of(url: URL, tls: TlsOptions, way: ProxyRoute | string | undefined): ConnectionPool {
    const isSecure = url.protocol === "https:";
    const applied = tlsFor(url.hostname, tls);
    const { proxy, asHttp } = typeof way === "object" ? way : {};
    const host = proxy !== undefined && !(isSecure && !asHttp) ? undefined : url.host;
    const key = JSON.stringify([isSecure, host, isSecure || proxy?.secure ? applied : {}, proxy ?? way, asHttp]);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      this.#pools.set(key, pool = new ConnectionPool(destinationOf(url, applied, way), this.most));
    }
    return pool;
  }

  [Symbol.dispose](): void {
    for (const pool of this.#pools.values()) pool[Symbol.dispose]();
    this.#pools.clear();
  }
}

function destinationOf(url: URL, tls: TlsOptions, way: ProxyRoute | string | undefined): Destination {
  const isSecure = url.protocol === "https:";
  const port = url.port === "" ? (isSecure ? 443 : 80) : Number(url.port);
  const host = { hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"), port };
  if (typeof way !== "object") return { ...host, socketPath: way, tls: isSecure ? secureContext(tls) : undefined };
  const { proxy } = way;
  const proxyTls = secureContext({ ...tls, clientCertificate: undefined });
  if (isTunnel(url, way)) return { ...host, tls: secureContext(tls), tunnel: { proxy, tls: proxyTls } };
  return { hostname: proxy.hostname, port: proxy.port, tls: proxy.secure ? proxyTls : undefined };
}
