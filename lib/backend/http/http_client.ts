/**
 * One HTTP request at a time and host within limits: kept-alive connections, named timeouts, on-demand before prefetch.
 *
 * HTTP/1.1 over node:http: unlike fetch it tells connecting from waiting, verifies with more than one set of roots, and
 * leaves redirects alone. A range of 64 KiB costs the same through either.
 *
 * ```ts
 * using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
 * const text = await http.exchange({ method: "GET", url }, { priority: "on-demand" }, (answer) => answer.text(4096));
 * ```
 * Three waits have a limit and a name: connect (lookup, TCP, TLS), read (silence), total. A request that failed before
 * a byte of the answer on a connection that had been idle is sent once more on a fresh one, since the server may have
 * closed it just then.
 *
 * @throws {TransferError} "unavailable" for what network and server do; {NydusGdError} "interrupted"
 * @module
 */
import http from "node:http";
import https from "node:https";
import { getCACertificates } from "node:tls";
import { interruption, throwIfAborted } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { Limiter } from "../../base/limiter.ts";
import { VERSION } from "../../base/version.ts";
import type { ReadOptions } from "../blob_source.ts";
import { confine } from "./confinement.ts";
import type { FetchOptions } from "./fetch_options.ts";
import { HttpResponse } from "./http_response.ts";
import { lookup } from "./lookup.ts";
import { TransferError } from "./transfer_error.ts";

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  readonly url: URL;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** Which certificates are believed. */
export interface TlsOptions {
  readonly skipVerify: boolean;
  /** PEM texts, believed beside the system's roots. */
  readonly caCertificates: readonly string[];
}

/** Limits that a backend's own configuration sets in place of the client's. */
export type Timeouts = Partial<Pick<FetchOptions, "connectTimeoutMs" | "readTimeoutMs" | "totalTimeoutMs">>;

/** How one exchange may be scheduled, secured and ended. */
export interface ExchangeOptions extends ReadOptions {
  readonly tls?: TlsOptions;
  readonly timeouts?: Timeouts;
  /** Only an image says so: {@link confine}. */
  readonly confined?: boolean;
  /** A Unix socket that is connected to in place of the URL's host. */
  readonly socketPath?: string;
}

type Timer = ReturnType<typeof setTimeout>;

const DEFAULT_TLS: TlsOptions = { skipVerify: false, caCertificates: [] };

/** Connections are kept this long without use: under the idle limit of common servers and load balancers. */
const IDLE_CONNECTION_MS = 50_000;

/** All connections of the process, or of a test. Disposing closes them. */
export class HttpClient implements Disposable {
  readonly #limiters = new Map<string, Limiter>();
  readonly #agents = new Map<string, http.Agent>();

  constructor(readonly options: FetchOptions) {}

  /**
   * Sends `request` when the host has a free place, and holds the place until `consume` has read the answer.
   * Whatever `consume` leaves unread is given up.
   */
  async exchange<T>(
    request: HttpRequest,
    options: ExchangeOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    throwIfAborted(options.signal);
    if (options.confined) confine(request.url);
    try {
      return await this.#limiterOf(options.socketPath ?? request.url.host).run(
        options.priority,
        () => this.#attempt(request, options, consume),
        options.signal,
      );
    } catch (error) {
      if (error instanceof NydusGdError || !options.signal?.aborted) throw error;
      throw interruption(options.signal);
    }
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  async #attempt<T>(
    request: HttpRequest,
    options: ExchangeOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const timeouts = { ...this.options, ...options.timeouts };
    const agent = this.#agentOf(request.url.protocol, options.tls ?? DEFAULT_TLS, options.socketPath);
    for (let isFresh = false;; isFresh = true) {
      const exchange = new Exchange(request, agent, timeouts, options.signal);
      try {
        return await consume(await exchange.response);
      } catch (error) {
        if (isFresh || !exchange.wasStale) throw error;
        closeIdle(agent);
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

  #agentOf(protocol: string, tls: TlsOptions, socketPath: string | undefined): http.Agent {
    const key = protocol === "https:" ? JSON.stringify(tls) : socketPath ?? "";
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      const common = {
        keepAlive: true,
        maxFreeSockets: this.options.parallelPerHost,
        timeout: IDLE_CONNECTION_MS,
        lookup,
        ...(socketPath === undefined ? {} : { socketPath }),
      };
      agent = protocol === "https:" ? new https.Agent({ ...common, ...secureContext(tls) }) : new http.Agent(common);
      this.#agents.set(key, agent);
    }
    return agent;
  }
}

/** The machine's own roots, as an administrator changes them; those of the runtime where it has none. */
function secureContext(tls: TlsOptions): https.AgentOptions {
  if (tls.skipVerify) return { rejectUnauthorized: false };
  const system = getCACertificates("system");
  // Each new connection reads the whole list again, at 0.1 ms a certificate: no list is added to another.
  return { ca: [...(system.length > 0 ? system : getCACertificates("bundled")), ...tls.caCertificates] };
}

/** Where one idle connection was closed by its server, the others are likely to be. */
function closeIdle(agent: http.Agent): void {
  for (const sockets of Object.values(agent.freeSockets)) {
    for (const socket of sockets ?? []) socket.destroy();
  }
}

/** One request on one connection, from its start until {@link Exchange.end}. */
class Exchange {
  readonly response: Promise<HttpResponse>;
  /** It failed on a kept connection before a byte of the answer: nothing is known about the server. */
  wasStale = false;
  readonly #request: http.ClientRequest;
  readonly #timers = new Set<Timer>();
  readonly #broken = Promise.withResolvers<never>();
  readonly #signal: AbortSignal | undefined;
  #ended = false;
  #message: http.IncomingMessage | undefined;
  #lastActivity = performance.now();

  constructor(
    request: HttpRequest,
    agent: http.Agent,
    timeouts: FetchOptions,
    signal: AbortSignal | undefined,
  ) {
    const { url, method } = request;
    const secure = url.protocol === "https:";
    const headers: Record<string, string | number> = {
      "user-agent": `nydus-gd/${VERSION}`,
      "accept-encoding": "identity",
      ...request.headers,
    };
    const body = typeof request.body === "string" ? new TextEncoder().encode(request.body) : request.body;
    if (body !== undefined) headers["content-length"] = body.length;
    this.#request = (secure ? https : http).request(url, { method, headers, agent });
    this.#signal = signal;
    this.response = this.#run(url, secure, timeouts);
    this.#request.end(body);
  }

  /** Ends whatever still goes on. Harmless after a complete answer, whose connection stays open. */
  end(): void {
    this.#ended = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (!this.#message?.complete) this.#request.destroy();
  }

  #run(url: URL, secure: boolean, timeouts: FetchOptions): Promise<HttpResponse> {
    const request = this.#request;
    const { promise, resolve } = Promise.withResolvers<HttpResponse>();
    // The body may be waited for later, or never.
    this.#broken.promise.catch(() => {});

    const { connectTimeoutMs, totalTimeoutMs } = timeouts;
    const connectTimer = this.#limit("connect", connectTimeoutMs);
    this.#limit("transfer", totalTimeoutMs);
    const connected = () => {
      clearTimeout(connectTimer);
      this.#active();
      this.#watchSilence(timeouts.readTimeoutMs);
    };
    let handshaking = secure;
    request.once("socket", (socket) => {
      if (!socket.connecting) {
        handshaking = false;
        connected();
      } else {
        socket.once(secure ? "secureConnect" : "connect", () => {
          handshaking = false;
          connected();
        });
      }
    });
    request.once("response", (message) => {
      this.#message = message;
      this.#active();
      resolve(new HttpResponse(url, message, request.method !== "HEAD", () => this.#active(), this.#broken.promise));
    });
    request.on("error", (error) => {
      this.wasStale = request.reusedSocket && this.#message === undefined && isDisconnect(error);
      this.#fail(translate(error, url, handshaking));
    });
    this.#signal?.addEventListener("abort", this.#onAbort);
    return Promise.race([promise, this.#broken.promise]);
  }

  readonly #onAbort = () => {
    if (this.#signal !== undefined) this.#fail(interruption(this.#signal));
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
    const host = this.#request.getHeader("host");
    this.#fail(
      new TransferError("unavailable", `${name} from ${host} timed out after ${limitMs} ms`, { prospect: "transient" }),
    );
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

function isDisconnect(error: Error & { code?: string }): boolean {
  return error.code === "ECONNRESET" || error.code === "EPIPE" || error.code === "ECONNABORTED";
}

/** Failures of certificates: asking again does not mend them. */
const CERTIFICATE_ERRORS =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/;

function translate(error: Error & { code?: string }, url: URL, handshaking: boolean): TransferError {
  const code = error.code ?? "";
  const details = { cause: error };
  if (CERTIFICATE_ERRORS.test(code)) {
    return new TransferError("unavailable", `certificate of ${url.host} is not trusted (${error.message})`, {
      ...details,
      prospect: "permanent",
      hint: `put its CA into /etc/docker/certs.d/${url.host}/ca.crt or ca_cert_files`,
    });
  }
  if (handshaking && (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "EPROTO" || isDisconnect(error))) {
    return new TransferError("unavailable", `${url.host} does not speak TLS`, {
      ...details,
      prospect: "transient",
      notTls: true,
    });
  }
  const words: Record<string, string> = {
    ECONNREFUSED: `connection to ${url.host} refused`,
    ECONNRESET: `connection to ${url.host} lost`,
    EPIPE: `connection to ${url.host} lost`,
    ENOTFOUND: `no address for ${url.hostname}`,
    EAI_AGAIN: `no address for ${url.hostname} at the moment`,
  };
  const state = words[code] ??
    (code.startsWith("HPE_")
      ? `${url.host} does not speak HTTP`
      : `connection to ${url.host} failed (${messageOf(error)})`);
  return new TransferError("unavailable", state, { ...details, prospect: "transient" });
}
