/**
 * HTTP client with persistent connections, named timeouts, proxies, and on-demand requests ahead of prefetch.
 *
 * It speaks HTTP/1.1 on sockets. Unlike fetch, it distinguishes connecting from waiting, can trust additional root
 * certificates per request, and does not follow redirects.
 *
 * ```ts
 * using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
 * const text = await http.exchange({ method: "GET", url }, { priority: "on-demand" }, (answer) => answer.text(4096));
 * ```
 * A request on an idle connection that fails before the first byte of the response is sent once more on a new
 * connection, since the server may have closed the idle one at that moment.
 *
 * @throws {TransferError} "unavailable" for failures of network and server; {NydusGdError} "interrupted"
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
import type { RetryLimits } from "./retry.ts";
import { statusError } from "./status.ts";
import { DEFAULT_TLS, type TlsOptions } from "./tls.ts";

export type { HttpRequest } from "./request_bytes.ts";
export type { ClientCertificate, TlsOptions } from "./tls.ts";

/** A backend's own limits, which override those of the client. */
export type Timeouts = Partial<Pick<FetchOptions, "connectTimeoutMs" | "readTimeoutMs" | "totalTimeoutMs">>;

/** Scheduling, TLS, routing and cancellation of one exchange. */
export interface ExchangeOptions extends RoutingOptions {
  readonly tls?: TlsOptions;
  readonly timeouts?: Timeouts;
  /** Undefined: connect directly. */
  readonly proxy?: ProxyRule | undefined;
  /** Whether only an image names the target: see {@link confine}. */
  readonly confined?: boolean;
  /** A host, with its port, to which this does not apply: "10.0.0.1:5000". It still does to where that host leads. */
  readonly freedHost?: string | undefined;
  /** Path of a Unix socket to connect to instead of the URL's host. */
  readonly socketPath?: string;
}

/** Owns the connections of the process, or of a test. Disposing closes the idle ones. */
export class HttpClient implements Disposable {
  readonly #limiters = new Map<string, Limiter>();
  /** Hosts that have answered, whatever they said. */
  readonly #answered = new Set<string>();
  readonly #connections: ConnectionPools;

  constructor(readonly options: FetchOptions) {
    this.#connections = new ConnectionPools(options.parallelPerHost);
  }

  /**
   * Sends `request` once the host has a free slot, and holds the slot until `consume` has read the response. Discards
   * what `consume` leaves unread. If a proxy fails, `consume` may be called again for the direct route.
   */
  async exchange<T>(
    request: HttpRequest,
    options: ExchangeOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    throwIfAborted(options.signal);
    if (options.confined && request.url.host !== options.freedHost) confine(request.url);
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

  /**
   * Returns the limits of repetitions at servers: those that have never answered are not waited for, since their address
   * may be wrong.
   */
  retryLimits(urls: readonly URL[]): RetryLimits {
    return urls.some(({ host }) => this.#answered.has(host)) ? this.options : { ...this.options, patienceMs: 0 };
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  async #attempt<T>(
    request: HttpRequest,
    route: ProxyRoute | undefined,
    { tls = DEFAULT_TLS, timeouts, signal, socketPath }: ExchangeOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const connections = this.#connections.of(request.url, tls, route ?? socketPath);
    const way = { connections, route, timeouts: { ...this.options, ...timeouts }, signal };
    for (let isFresh = false;; isFresh = true) {
      throwIfAborted(signal); // perhaps since the slot was free, or the idle connection failed
      const exchange = new Exchange(request, way);
      try {
        const response = await exchange.response;
        this.#answered.add(request.url.host);
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
