/**
 * An in-process HTTP proxy for absolute URLs and CONNECT tunnels that can be told to misbehave.
 *
 * ```ts
 * await using proxy = await FakeProxy.start({ hosts: { "registry.test": registry.port } });
 * ```
 * Names are looked up in `hosts` first, so that a nonexistent host can be reached through the proxy and only through
 * it.
 *
 * @module
 */
import { createServer, type IncomingMessage, request as forward, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";

/** Options of the proxy. */
export interface FakeProxyOptions {
  /** Loopback ports by host name. */
  readonly hosts?: Readonly<Record<string, number>>;
  /** "user:password" that it requires. */
  readonly login?: string;
  /** Use TLS for connections to the proxy; PEM texts. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** What the proxy does instead of forwarding. */
export type ProxyFault =
  | { readonly kind: "status"; readonly status: number }
  /** Never answers. */
  | { readonly kind: "stall" }
  /** Closes the connection. */
  | { readonly kind: "reset" }
  /** Forwards the head and this many bytes of the body, then closes the connection. */
  | { readonly kind: "truncate"; readonly keep: number };

/** A received request. */
export interface ProxiedRequest {
  /** "CONNECT" for a tunnel. */
  readonly method: string;
  /** Absolute URL, or HOST:PORT of a tunnel. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The proxy. */
export class FakeProxy implements AsyncDisposable {
  readonly requests: ProxiedRequest[] = [];
  /** The fault to apply from now on. */
  fault: ProxyFault | undefined;
  /** Number of connections accepted so far. */
  connections = 0;
  readonly #sockets = new Set<Duplex>();

  private constructor(private readonly server: Server, private readonly options: FakeProxyOptions) {}

  /** Starts it on a free loopback port. */
  static async start(options: FakeProxyOptions = {}): Promise<FakeProxy> {
    const { tls } = options;
    const server = tls === undefined ? createServer() : createTlsServer({ cert: tls.certificate, key: tls.key });
    const proxy = new FakeProxy(server, options);
    server.on("request", (request, response) => proxy.#forward(request, response));
    server.on("connect", (request, socket) => proxy.#tunnel(request, socket));
    server.on("connection", (socket: Socket) => {
      proxy.connections++;
      proxy.#track(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Does not include user and password. */
  get url(): string {
    return `${this.options.tls === undefined ? "http" : "https"}://${this.host}`;
  }

  /** Number of open connections to and from it. */
  get open(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #track(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** True if the request was answered here. */
  #isRefused(request: IncomingMessage, refuse: (status: number) => void): boolean {
    this.requests.push({ method: request.method ?? "", target: request.url ?? "", headers: request.headers });
    const { login } = this.options;
    const { fault } = this;
    if (fault?.kind === "stall") request.socket.resume().once("end", () => request.socket.destroy());
    else if (fault?.kind === "reset") request.socket.destroy();
    else if (fault?.kind === "status") refuse(fault.status);
    else if (login !== undefined && request.headers["proxy-authorization"] !== `Basic ${btoa(login)}`) refuse(407);
    else return false;
    return true;
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    if (this.#isRefused(request, (status) => response.writeHead(status, { "content-length": 0 }).end())) return;
    const { hostname, port, pathname, search } = new URL(request.url ?? "");
    const headers = { ...request.headers };
    delete headers["proxy-authorization"];
    const { fault } = this;
    const sent = forward({
      ...this.#addressOf(hostname, port),
      method: request.method ?? "GET",
      path: pathname + search,
      headers,
    }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      if (fault?.kind !== "truncate") return void answer.pipe(response);
      answer.once("data", (piece: Uint8Array) =>
        response.write(piece.subarray(0, fault.keep), () => {
          response.socket?.destroy();
          answer.destroy();
        }));
    });
    sent.on("error", () => response.destroyed || response.headersSent || response.writeHead(502).end());
    request.pipe(sent);
  }

  #tunnel(request: IncomingMessage, socket: Duplex): void {
    if (this.#isRefused(request, (status) => socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`))) return;
    const { hostname, port } = new URL(`http://${request.url}`);
    const { host, port: actual } = this.#addressOf(hostname, port || "80");
    const target = connect(actual, host, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      socket.pipe(target).pipe(socket);
    });
    this.#track(target);
    target.once("close", () => socket.destroy());
    socket.once("close", () => target.destroy());
  }

  #addressOf(hostname: string, port: string): { readonly host: string; readonly port: number } {
    const known = this.options.hosts?.[hostname];
    return known === undefined ? { host: hostname, port: Number(port || 80) } : { host: "127.0.0.1", port: known };
  }
}
