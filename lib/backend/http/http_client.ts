/**
 * HTTP requests within limits: kept-alive connections, named timeouts, on-demand before prefetch, proxies.
 *
 * HTTP/1.1 over sockets: unlike fetch that tells connecting from waiting, verifies with more than one set of roots, and
 * leaves redirects alone.
 *
 * ```ts
 * using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
 * const text = await http.exchange({ method: "GET", url }, { priority: "on-demand" }, (answer) => answer.text(4096));
 * ```
 * A request that failed before a byte of the answer on a connection that had been idle is sent once more on a fresh one,
 * since the server may have closed it just then.
 *
 * @throws {TransferError} "unavailable" for what network and server do; {NydusGdError} "interrupted"
 * @module
 */
import { interruption, throwIfAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { Limiter } from "../../base/limiter.ts";
import { confine } from "./confinement.ts";
import { ConnectionPools } from "./connections.ts";
import { Exchange } from "./exchange.ts";
import type { FetchOptions } from "./fetch_options.ts";
import type { HttpResponse } from "./http_response.ts";
import type { ProxyRoute, ProxyRule, RoutingOptions } from "./proxy.ts";
import type { HttpRequest } from "./request_bytes.ts";
import { statusError } from "./status.ts";
import type { TlsOptions } from "./tls.ts";

export type { HttpRequest } from "./request_bytes.ts";
export type { ClientCertificate, TlsOptions } from "./tls.ts";

/** Limits that a backend's own configuration sets in place of the client's. */
export type Timeouts = Partial<Pick<FetchOptions, "connectTimeoutMs" | "readTimeoutMs" | "totalTimeoutMs">>;

/** How one exchange may be scheduled, secured, routed and ended. */
export interface ExchangeOptions extends RoutingOptions {
  readonly tls?: TlsOptions;
  readonly timeouts?: Timeouts;
  /** Undefined: every request goes directly. */
  readonly proxy?: ProxyRule | undefined;
  /** Only an image says so: {@link confine}. */
  readonly confined?: boolean;
  /** A Unix socket that is connected to in place of the URL's host. */
  readonly socketPath?: string;
}

/** All connections of the process, or of a test. Disposing closes them. */
export class HttpClient implements Disposable {
  readonly #limiters = new Map<string, Limiter>();
  readonly #connections: ConnectionPools;

  constructor(readonly options: FetchOptions) {
    this.#connections = new ConnectionPools(options.parallelPerHost);
  }

  /**
   * Sends `request` when the host has a free place, and holds the place until `consume` has read the answer.
   * Whatever `consume` leaves unread is given up. Where a proxy fails, `consume` may be called again for the direct way.
   */
  async exchange<T>(
    request: HttpRequest,
    options: ExchangeOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    throwIfAborted(options.signal);
    if (options.confined) confine(request.url);
    const send = (route: ProxyRoute | undefined) =>
      this.#limiterOf(options.socketPath ?? request.url.host).run(
        options.priority,
        () => this.#attempt(request, route, options, consume),
        options.signal,
      );
    try {
      const { proxy, socketPath } = options;
      return await (proxy === undefined || socketPath !== undefined
        ? send(undefined)
        : proxy.send(request.url, options, send));
    } catch (error) {
      if (error instanceof NydusGdError || !options.signal?.aborted) throw error;
      throw interruption(options.signal);
    }
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  async #attempt<T>(
    request: HttpRequest,
    route: ProxyRoute | undefined,
    { tls, timeouts, signal, socketPath }: ExchangeOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const connections = this.#connections.of(request.url, tls, route ?? socketPath);
    const way = { connections, route, timeouts: { ...this.options, ...timeouts }, signal };
    for (let isFresh = false;; isFresh = true) {
      const exchange = new Exchange(request, way);
      try {
        const response = await exchange.response;
        if (route?.refusesServerErrors && response.status >= 500) throw await statusError(response);
        return await consume(response);
      } catch (error) {
        if (isFresh || !exchange.wasStale) throw error;
        connections.closeIdle();
      } finally {
        exchange.end();
      }
    }
  }

  #limiterOf(host: string): Limiter {
    let limiter = this.#limiters.get(host);
    if (limiter === undefined) this.#limiters.set(host, limiter = new Limiter(this.options.parallelPerHost));
    return limiter;
  }
}
