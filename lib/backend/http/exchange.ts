/**
 * One request on one connection, from its start until {@link Exchange.end}, within its time limits.
 *
 * Three waits have a limit and a name: connect (lookup, TCP, TLS, a proxy's tunnel), read (silence), transfer (all).
 *
 * @module
 */
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { interruption } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { connectionError, isDisconnect, type Peer } from "./connection_error.ts";
import type { FetchOptions } from "./fetch_options.ts";
import { HttpResponse } from "./http_response.ts";
import type { ProxyRoute } from "./proxy.ts";
import { TransferError } from "./transfer_error.ts";

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  readonly url: URL;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | BodyStream;
}

/** A body that is not in memory. */
export interface BodyStream {
  readonly length: number;
  /** Its bytes from the first one; asked again when the request is sent again. */
  open(): AsyncIterable<Uint8Array>;
}

/** The way that a request takes. */
export interface Way {
  readonly agent: http.Agent;
  /** Undefined: directly. */
  readonly route: ProxyRoute | undefined;
  readonly timeouts: FetchOptions;
  readonly signal: AbortSignal | undefined;
}

type Timer = ReturnType<typeof setTimeout>;

/** A request that is under way. */
export class Exchange {
  readonly response: Promise<HttpResponse>;
  /** It failed on a kept connection before a byte of the answer: nothing is known about the server. */
  wasStale = false;
  readonly #request: http.ClientRequest;
  readonly #timers = new Set<Timer>();
  readonly #broken = Promise.withResolvers<never>();
  /** Who answers, for messages. */
  readonly #server: string;
  #ended = false;
  #message: http.IncomingMessage | undefined;
  #lastActivity = performance.now();

  constructor(request: HttpRequest, private readonly way: Way) {
    const { url } = request;
    const body = typeof request.body === "string" ? new TextEncoder().encode(request.body) : request.body;
    const headers: Record<string, string | number> = {
      "user-agent": `nydus-gd/${VERSION}`,
      "accept-encoding": "identity",
      ...request.headers,
      ...(body === undefined ? {} : { "content-length": body.length }),
    };
    const { route } = way;
    this.#server = route === undefined ? url.host : `${url.host} through proxy ${route.proxy.name}`;
    this.#request = start(request.method, url, headers, way);
    this.response = this.#run(url);
    if (body === undefined || body instanceof Uint8Array) this.#request.end(body);
    else void this.#stream(body);
  }

  /** Ends whatever still goes on. Harmless after a complete answer, whose connection stays open. */
  end(): void {
    this.#ended = true;
    this.way.signal?.removeEventListener("abort", this.#onAbort);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (!this.#message?.complete) this.#request.destroy();
  }

  async #stream(body: BodyStream): Promise<void> {
    try {
      for await (const piece of body.open()) {
        if (this.#ended) return;
        if (!this.#request.write(piece)) {
          await Promise.race([once(this.#request, "drain"), this.#broken.promise]);
        }
        this.#active();
      }
      this.#request.end();
    } catch (error) {
      // what broke the exchange is told by it already
      this.#fail(error instanceof NydusGdError ? error : new NydusGdError("io", messageOf(error), { cause: error }));
    }
  }

  #run(url: URL): Promise<HttpResponse> {
    const request = this.#request;
    const { timeouts, route, signal } = this.way;
    const { promise, resolve } = Promise.withResolvers<HttpResponse>();
    // The body may be waited for later, or never.
    this.#broken.promise.catch(() => {});

    const connectTimer = this.#limit("connect", timeouts.connectTimeoutMs);
    this.#limit("transfer", timeouts.totalTimeoutMs);
    let handshaking = speaksTls(url, route);
    const connected = () => {
      handshaking = false;
      clearTimeout(connectTimer);
      this.#active();
      this.#watchSilence(timeouts.readTimeoutMs);
    };
    request.once("socket", (socket) => {
      if (socket.connecting) socket.once(handshaking ? "secureConnect" : "connect", connected);
      else connected();
    });
    request.once("response", (message) => {
      this.#message = message;
      this.#active();
      const hasBody = request.method !== "HEAD";
      resolve(new HttpResponse(url, this.#server, message, hasBody, () => this.#active(), this.#broken.promise));
    });
    request.on("error", (error) => {
      this.wasStale = request.reusedSocket && this.#message === undefined && isDisconnect(error);
      this.#fail(connectionError(error, peerOf(url, route), handshaking));
    });
    signal?.addEventListener("abort", this.#onAbort);
    return Promise.race([promise, this.#broken.promise]);
  }

  readonly #onAbort = () => {
    const { signal } = this.way;
    if (signal !== undefined) this.#fail(interruption(signal));
  };

  #active(): void {
    this.#lastActivity = performance.now();
  }

  /** One timer for the whole exchange: it looks how long ago the last piece came, and sleeps for the rest. */
  #watchSilence(limitMs: number): void {
    const check = () => {
      const left = limitMs - (performance.now() - this.#lastActivity);
      if (left > 0) this.#after(Math.ceil(left), check);
      else this.#timedOut("read", limitMs);
    };
    if (!this.#ended && limitMs > 0) this.#after(limitMs, check);
  }

  #limit(name: string, limitMs: number): Timer | undefined {
    return limitMs > 0 ? this.#after(limitMs, () => this.#timedOut(name, limitMs)) : undefined;
  }

  #timedOut(name: string, limitMs: number): void {
    const state = `${name} from ${this.#server} timed out after ${limitMs} ms`;
    this.#fail(new TransferError("unavailable", state, { prospect: "transient" }));
  }

  #fail(error: NydusGdError): void {
    this.#broken.reject(error);
    this.#request.destroy();
  }

  #after(delayMs: number, action: () => void): Timer {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }
}

/** Directly and through tunnels the host is asked for a path; a proxy that does the asking gets the whole URL. */
function start(
  method: string,
  url: URL,
  headers: Record<string, string | number>,
  { agent, route }: Way,
): http.ClientRequest {
  if (route === undefined || isTunnel(url, route)) {
    return (url.protocol === "https:" ? https : http).request(url, { method, headers, agent });
  }
  const { proxy } = route;
  const target = new URL(url);
  if (route.asHttp) target.protocol = "http:";
  return (proxy.secure ? https : http).request({
    host: proxy.hostname,
    port: proxy.port,
    method,
    path: target.href,
    headers: {
      ...headers,
      ...route.headers,
      host: target.host,
      ...(proxy.authorization === undefined ? {} : { "proxy-authorization": proxy.authorization }),
    },
    agent,
  });
}

function isTunnel(url: URL, route: ProxyRoute): boolean {
  return url.protocol === "https:" && !route.asHttp;
}

/** Whether the connection that the request itself is written to is TLS. */
function speaksTls(url: URL, route: ProxyRoute | undefined): boolean {
  return route === undefined || isTunnel(url, route) ? url.protocol === "https:" : route.proxy.secure;
}

/** Whose certificate, address and connection it is. */
function peerOf(url: URL, route: ProxyRoute | undefined): Peer {
  if (route === undefined || isTunnel(url, route)) return { name: url.host, hostname: url.hostname };
  return { name: `proxy ${route.proxy.name}`, hostname: route.proxy.hostname };
}
