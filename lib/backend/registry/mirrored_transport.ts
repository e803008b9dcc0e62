/**
 * Requests to a repository with mirrors. Tries one host after the other until one succeeds, the upstream last.
 *
 * ```
 * mirrors in the order of hosts.toml ─ upstream ─ recently failed hosts ─► all failed: backoff, next round
 * ```
 * Any failure of a host (no connection, timeout, HTTP error, wrong digest) leads to the next one. Login, redirects and
 * limits are per host (transport.ts).
 *
 * @throws {TransferError} with the state of every host, the upstream's first; its code is the upstream's
 * @module
 */
import { throwIfAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { ReadOptions } from "../blob_source.ts";
import type { HttpResponse } from "../http/http_response.ts";
import type { RoutingOptions } from "../http/proxy.ts";
import { withRetries } from "../http/retry.ts";
import { TransferError } from "../http/transfer_error.ts";
import type { HostHealth } from "./host_health.ts";
import type { Capability, HostWish, RegistryHost, RegistryRequest, Repository } from "./repository.ts";
import type { RegistryTransport } from "./transport.ts";

/** A host of a repository. */
export interface RepositoryHost {
  readonly transport: RegistryTransport;
  readonly capabilities: ReadonlySet<Capability>;
}

interface Failed {
  readonly host: RepositoryHost;
  readonly error: NydusGdError;
}

/** The default: content by digest. */
const CONTENT: HostWish = { capability: "pull" };

/** A repository with mirrors. */
export class MirroredTransport implements Repository {
  readonly description: string;
  readonly name: string;
  readonly #hosts: readonly RepositoryHost[];

  constructor(
    mirrors: readonly RepositoryHost[],
    private readonly upstream: RepositoryHost,
    description: string,
    private readonly health: HostHealth,
  ) {
    this.#hosts = [...mirrors, upstream];
    this.name = upstream.transport.name;
    this.description = description;
  }

  request<T>(
    request: RegistryRequest,
    options: ReadOptions,
    consume: (response: HttpResponse) => Promise<T>,
    wish?: HostWish,
  ): Promise<T> {
    return this.retrying(options, (host, attempt) => host.once(request, attempt, consume), wish);
  }

  retrying<T>(
    options: ReadOptions,
    attempt: (host: RegistryHost, options: RoutingOptions) => Promise<T>,
    wish: HostWish = CONTENT,
  ): Promise<T> {
    const { range } = wish;
    if (range !== undefined && (options.corruptResponses ?? 0) > 0) {
      range.memory.doubt(range.offset, range.length, this.health.now());
    }
    return withRetries(
      this.upstream.transport.options.http.retryLimits(this.#hosts.map(({ transport }) => transport.endpoint.url("/"))),
      options.signal,
      (isLast) => {
        const routing = { ...options, bypassProxy: isLast && options.priority === "on-demand" };
        return this.#round((host) => attempt(host, routing), options, wish);
      },
    );
  }

  /** Tries each host once. */
  async #round<T>(
    attempt: (host: RegistryHost) => Promise<T>,
    { signal }: ReadOptions,
    wish: HostWish,
  ): Promise<T> {
    const failed: Failed[] = [];
    for (const host of this.#inOrder(wish)) {
      const { name } = host.transport.endpoint;
      try {
        const result = await attempt(host.transport);
        this.health.succeeded(name);
        wish.range?.memory.served(name, wish.range.offset, wish.range.length);
        return result;
      } catch (error) {
        throwIfAborted(signal);
        if (!(error instanceof NydusGdError) || error.code === "interrupted") throw error;
        this.#remember(name, error, wish);
        failed.push({ host, error });
      }
    }
    throw this.#failureOf(failed);
  }

  #inOrder({ capability, range }: HostWish): RepositoryHost[] {
    const nowMs = this.health.now();
    const fitting = this.#hosts.filter(({ capabilities }) => capabilities.has(capability));
    const isAside = ({ transport: { endpoint } }: RepositoryHost) =>
      this.health.isAside(endpoint.name) || (range?.memory.isAside(endpoint.name, nowMs) ?? false);
    return [...fitting.filter((host) => !isAside(host)), ...fitting.filter(isAside)];
  }

  /** A transient error affects the host's health; a permanent one concerns only the requested blob. */
  #remember(host: string, error: NydusGdError, { range }: HostWish): void {
    if (!(error instanceof TransferError) || error.prospect === "permanent") {
      range?.memory.putAside(host, this.health.now());
      return;
    }
    const pauseMs = this.health.failed(host);
    if (pauseMs === undefined) return;
    logger("backend").warn("registry host failed, the other hosts are tried first for a while", {
      registry: this.description,
      host,
      seconds: pauseMs / 1000,
      state: error.state,
    });
  }

  #failureOf(failed: readonly Failed[]): NydusGdError {
    const ofUpstream = failed.find(({ host }) => host === this.upstream);
    const [main, ...others] = ofUpstream === undefined
      ? failed
      : [ofUpstream, ...failed.filter((each) => each !== ofUpstream)];
    if (main === undefined) {
      const state = "its hosts.toml allows no host for this request";
      return new TransferError("unavailable", state, { prospect: "permanent" }, `use ${this.description}`);
    }
    if (!(main.error instanceof TransferError)) return main.error;
    const { code, state, status, hint, retryAfterMs, what } = main.error;
    const { wholeBytes } = failed.map(({ error }) => error).find(sendsWhole) ?? main.error;
    const isAbsent = main === ofUpstream && code === "not-found";
    const isTransient = failed.some(({ error }) => error instanceof TransferError && error.prospect === "transient");
    return new TransferError(code, [state, ...others.map(stateOf)].join("; "), {
      prospect: isTransient && !isAbsent && wholeBytes === undefined ? "transient" : "permanent",
      retryAfterMs,
      wholeBytes,
      cause: main.error,
      ...(status === undefined ? {} : { status }),
      ...(hint === undefined ? {} : { hint }),
    }, what);
  }
}

function sendsWhole(error: NydusGdError): error is TransferError {
  return error instanceof TransferError && error.wholeBytes !== undefined;
}

function stateOf({ host, error }: Failed): string {
  return `mirror ${host.transport.endpoint.name}: ${error instanceof TransferError ? error.state : error.message}`;
}
