/**
 * The proxy of nydusd's configuration (`proxy.*`), such as Dragonfly's. Applies to all requests except those for
 * tokens.
 *
 * ```
 * healthy ── request ─► proxy ── connection fails, HTTP 500 and up ─► directly, if `fallback`
 * unhealthy ──────────────────────────────────────────────────────► directly, if `fallback`; else an error
 * ```
 * With `ping_url`, the proxy's health is checked while the backend is in use, at most once per `check_interval`. After
 * `check_pause_elapsed` without requests, the last result expires. With `fallback`, the last attempt of an on-demand
 * read and any attempt after wrong content bypass the proxy. Source: dragonflyoss/nydus 34e6071e,
 * storage/src/backend/connection.rs.
 *
 * @module
 */
import { logger } from "../../base/log.ts";
import type { ExchangeOptions, HttpClient } from "./http_client.ts";
import type { ProxyAddress, ProxyRoute, ProxyRule, RoutingOptions } from "./proxy.ts";
import { TransferError } from "./transfer_error.ts";

const log = logger("backend");

/** A backend's proxy; none without `address`. */
export interface ProxyConfig {
  readonly address: ProxyAddress | undefined;
  readonly pingUrl: URL | undefined;
  readonly fallback: boolean;
  readonly checkIntervalMs: number;
  readonly useHttp: boolean;
  readonly checkPauseElapsedMs: number;
  /** Not supported. */
  readonly dragonflySchedulerEndpoint: string;
}

/** Routes the requests of one backend through its proxy. */
export class BackendProxy implements ProxyRule {
  #isWell = true;
  /** Whether the last proxied request failed; limits the warning to one per outage. */
  #isFailing = false;
  #pingedAtMs = -Infinity;
  #usedAtMs = -Infinity;

  /** @param exchange certificates and limits of the backend, used for pings */
  constructor(
    private readonly config: ProxyConfig & { readonly address: ProxyAddress },
    private readonly http: HttpClient,
    private readonly exchange: Pick<ExchangeOptions, "tls" | "timeouts">,
    private readonly now: () => number = () => performance.now(),
  ) {}

  async send<T>(
    _url: URL,
    options: RoutingOptions,
    send: (route: ProxyRoute | undefined) => Promise<T>,
  ): Promise<T> {
    const { fallback } = this.config;
    this.#checkHealth();
    const isDoubtful = options.bypassProxy || (options.corruptResponses ?? 0) > 0;
    if (fallback && (isDoubtful || !this.#isWell)) return await send(undefined);
    if (!this.#isWell) {
      throw new TransferError("unavailable", `proxy ${this.config.address.name} is unhealthy`, {
        prospect: "transient",
        hint: "repair the proxy, or set proxy.fallback to true",
      });
    }
    try {
      const result = await send(this.#routeOf(options));
      this.#isFailing = false;
      return result;
    } catch (error) {
      if (!fallback || options.signal?.aborted || !isOfProxy(error)) throw error;
      if (!this.#isFailing) {
        log.warn("proxy failed, connecting directly", { proxy: this.config.address.name, error: error.state });
      }
      this.#isFailing = true;
      return await send(undefined);
    }
  }

  #routeOf({ priority }: RoutingOptions): ProxyRoute {
    const isPrefetch = priority === "prefetch";
    return {
      proxy: this.config.address,
      asHttp: this.config.useHttp,
      refusesServerErrors: this.config.fallback,
      headers: {
        "x-dragonfly-use-p2p": "true",
        "x-dragonfly-priority": isPrefetch ? "3" : "6",
        ...(isPrefetch ? { "x-dragonfly-prefetch": "true" } : {}),
      },
    };
  }

  /** Starts a ping if one is due. Its result applies to later requests. */
  #checkHealth(): void {
    const now = this.now();
    const { checkIntervalMs, checkPauseElapsedMs, pingUrl } = this.config;
    if (now - this.#usedAtMs > checkPauseElapsedMs) this.#isWell = true;
    this.#usedAtMs = now;
    if (pingUrl === undefined || now - this.#pingedAtMs < checkIntervalMs) return;
    this.#pingedAtMs = now;
    this.#ping(pingUrl).catch((error: unknown) => this.#learn(false, error));
  }

  async #ping(url: URL): Promise<void> {
    const status = await this.http.exchange(
      { method: "GET", url },
      { priority: "on-demand", ...this.exchange },
      async (response) => {
        await response.discard();
        return response.status;
      },
    );
    this.#learn(status >= 200 && status < 400, status);
  }

  #learn(isWell: boolean, answer: unknown): void {
    if (isWell !== this.#isWell) {
      const proxy = this.config.address.name;
      if (isWell) log.info("proxy is healthy again", { proxy });
      else log.warn("proxy is unhealthy", { proxy, answer });
    }
    this.#isWell = isWell;
  }
}

/** Whether the proxy failed and not the host behind it, as far as one can tell: connection errors, 5xx, and 407. */
function isOfProxy(error: unknown): error is TransferError {
  if (!(error instanceof TransferError) || error.notTls) return false;
  return error.status === undefined || error.status >= 500 || error.status === 407;
}
