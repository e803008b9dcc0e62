/**
 * Requests to a repository on one host, with login, redirects and retries.
 *
 * ```
 * once(request)   https, plain HTTP on loopback ─ Authorization ─ 401: answer the challenge ─ follow redirects
 * request(…)      the same, retried after transient failures with backoff
 * ```
 * The Authorization header is sent only to the registry's own scheme, host and port. A redirect elsewhere is followed
 * without it.
 *
 * @throws {TransferError} "not-found", "unauthorized", "unavailable"; {NydusGdError} "interrupted", "config"
 * @module
 */
import type { ReadOptions } from "../blob_source.ts";
import type { RoutingOptions } from "../http/proxy.ts";
import type { ExchangeSetup } from "../http_setup.ts";
import { RegistryAuth } from "./auth.ts";
import { Endpoint, type MirrorAddress } from "./endpoint.ts";
import type { HttpClient } from "../http/http_client.ts";
import type { HttpResponse } from "../http/http_response.ts";
import type { Keychain } from "./keychain.ts";
import { withRetries } from "../http/retry.ts";
import { statusError } from "../http/status.ts";
import { invalidResponse, TransferError } from "../http/transfer_error.ts";
import type { RegistryHost, RegistryRequest, Repository } from "./repository.ts";

/** Maximum redirects of one request. */
const MAX_REDIRECTS = 5;
/** Enough to drop a refused credential and to try its replacement. */
const MAX_CHALLENGES = 2;

/** A repository and how to reach it. */
export interface TransportOptions {
  readonly http: HttpClient;
  /** The registry's name: "registry.example.com:5000", "docker.io". */
  readonly host: string;
  readonly repo: string;
  readonly keychain: Keychain;
  /** Undefined: https, or plain HTTP on a loopback host that speaks no TLS. */
  readonly scheme?: "https" | "http" | undefined;
  /** The initial bearer token. */
  readonly initialToken?: string | undefined;
  /** "pull", "pull,push". */
  readonly actions?: string;
  readonly exchange: ExchangeSetup;
  /** Used for token servers. */
  readonly tokenExchange: ExchangeSetup;
  /** Rewrites a redirect target before it is followed. */
  readonly rewriteRedirect?: (location: URL) => URL;
  /** For mirrors. */
  readonly address?: MirrorAddress;
  /** Sent to the host itself with each request, by lower-case name. Values may be secrets. */
  readonly headers?: Readonly<Record<string, string>>;
}

type Step<T> = { readonly value: T } | { readonly location: URL };

/** A request, and what takes its response. */
interface Attempt<T> {
  readonly request: RegistryRequest;
  readonly options: RoutingOptions;
  readonly consume: (response: HttpResponse) => Promise<T>;
}

/** One repository on one host. */
export class RegistryTransport implements Repository, RegistryHost {
  readonly description: string;
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly #auth: RegistryAuth;

  constructor(readonly options: TransportOptions) {
    const { http, host, repo, keychain, scheme, exchange, tokenExchange } = options;
    this.description = `registry ${host}/${repo}`;
    this.name = repo;
    this.endpoint = new Endpoint(host, { scheme, skipVerify: exchange.tls?.skipVerify, address: options.address });
    this.#auth = new RegistryAuth({
      http,
      endpoint: this.endpoint,
      keychain,
      scope: `repository:${repo}:${options.actions ?? "pull"}`,
      exchange: tokenExchange,
      initialToken: options.initialToken,
      hasOwnHeader: options.headers?.authorization !== undefined,
    });
  }

  request<T>(
    request: RegistryRequest,
    options: ReadOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    return this.retrying(options, (host, attempt) => host.once(request, attempt, consume));
  }

  /** Retries `attempt`. The last attempt of an on-demand read bypasses the proxy if its rule allows that. */
  retrying<T>(
    options: ReadOptions,
    attempt: (host: RegistryHost, options: RoutingOptions) => Promise<T>,
  ): Promise<T> {
    return withRetries(
      this.options.http.retryLimits([this.endpoint.url("/")]),
      options.signal,
      (isLast) => attempt(this, { ...options, bypassProxy: isLast && options.priority === "on-demand" }),
    );
  }

  /** @inheritdoc */
  async once<T>(
    request: RegistryRequest,
    options: RoutingOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    try {
      let url = request.startAt ?? this.endpoint.url(request.path);
      for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
        const step = await this.#overTls(url, request.path, (at) => this.#step(at, { request, options, consume }));
        if ("value" in step) return step.value;
        url = step.location;
      }
      throw new TransferError("unavailable", `more than ${MAX_REDIRECTS} redirects`, { prospect: "permanent" });
    } catch (error) {
      throw error instanceof TransferError ? error.of(request.what) : error;
    }
  }

  async #overTls<T>(url: URL, path: string, send: (url: URL) => Promise<T>): Promise<T> {
    try {
      return await send(url);
    } catch (error) {
      if (!(error instanceof TransferError) || !error.notTls || !this.endpoint.fallBack(url)) throw error;
      return await send(this.endpoint.url(path));
    }
  }

  async #step<T>(url: URL, attempt: Attempt<T>): Promise<Step<T>> {
    const { options, consume } = attempt;
    if (!this.endpoint.owns(url)) return await this.#send(url, attempt, undefined);
    for (let challenges = 0;; challenges++) {
      const sent = await this.#auth.authorization(options);
      let challenge: string | undefined;
      const unlessChallenged = async (response: HttpResponse) => {
        if (response.status !== 401) return await consume(response);
        if (challenges === MAX_CHALLENGES) throw this.#auth.explain(await statusError(response));
        challenge = response.header("www-authenticate") ?? "";
        await response.discard();
        return undefined;
      };
      const step = await this.#send(url, { ...attempt, consume: unlessChallenged }, sent.header);
      if (challenge === undefined) return step as Step<T>;
      await this.#auth.answer(challenge, sent, options);
    }
  }

  /** Performs one exchange. A 401 is passed to `consume` if the challenge can be answered. */
  #send<T>(
    url: URL,
    { request, options, consume }: Attempt<T>,
    authorization: string | undefined,
  ): Promise<Step<T>> {
    const isOwn = this.endpoint.owns(url);
    const own = isOwn ? this.options.headers : undefined;
    const headers = { ...own, ...request.headers, ...(authorization === undefined ? {} : { authorization }) };
    const { method, body } = request;
    return this.options.http.exchange(
      { method, url, headers, ...(body === undefined ? {} : { body }) },
      { ...options, ...this.options.exchange },
      async (response) => {
        const { status } = response;
        if (status >= 400 && !(status === 401 && isOwn)) {
          const error = await statusError(response);
          throw isOwn ? this.#auth.explain(error) : error;
        }
        if (status < 300 || status >= 400) return { value: await consume(response) };
        await response.discard();
        return { location: this.#redirectOf(response) };
      },
    );
  }

  #redirectOf(response: HttpResponse): URL {
    const { status, url } = response;
    const target = response.header("location");
    if (target === undefined || !URL.canParse(target, url.href)) {
      throw invalidResponse(`HTTP ${status} from ${url.host} without a usable Location`);
    }
    const location = new URL(target, url);
    if (location.protocol !== "https:" && location.protocol !== "http:") {
      throw invalidResponse(`HTTP ${status} from ${url.host} leads to ${location.protocol}`);
    }
    const { rewriteRedirect } = this.options;
    return rewriteRedirect === undefined || this.endpoint.owns(location) ? location : rewriteRedirect(location);
  }
}
