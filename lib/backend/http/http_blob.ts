/**
 * A blob at a URL: HEAD gives its size, range requests its bytes.
 *
 * The common part of object stores and plain file servers. A {@link BlobServer} authorizes requests and interprets
 * refusals. Redirects are not followed: a signature is valid for one host only.
 *
 * @throws {TransferError} "not-found", "unauthorized", "unavailable"; {NydusGdError} "interrupted"
 * @module
 */
import type { BlobSource, ReadOptions } from "../blob_source.ts";
import type { ExchangeOptions, HttpClient } from "./http_client.ts";
import type { HttpResponse } from "./http_response.ts";
import type { RoutingOptions } from "./proxy.ts";
import { rangeHeader, readRange, totalSize } from "./range.ts";
import { withRetries } from "./retry.ts";
import { TransferError } from "./transfer_error.ts";
import { wholeStream } from "./whole_stream.ts";

/** Header values by lower-case name. */
export type Headers = Readonly<Record<string, string>>;
export type ReadMethod = "GET" | "HEAD";

/** How to send the requests of a backend. */
export interface ServerAccess {
  readonly http: HttpClient;
  readonly exchange: Pick<ExchangeOptions, "tls" | "timeouts" | "socketPath" | "proxy">;
}

/** A server that stores blobs. */
export interface BlobServer {
  /** For logs and errors: "s3 127.0.0.1:9000/images". */
  readonly description: string;
  readonly access: ServerAccess;
  /** Returns `headers` plus authorization. Called for each attempt, since signatures include the time. */
  authorize(method: ReadMethod, url: URL, headers: Headers): Promise<Headers>;
  /** Returns the error for a response outside 200 to 299. Reads the body. */
  refusal(response: HttpResponse): Promise<TransferError>;
}

/** A blob on a {@link BlobServer}. */
export class HttpBlob implements BlobSource {
  readonly description: string;
  readonly #what: string;

  /** @param url without credentials */
  constructor(private readonly server: BlobServer, id: string, private readonly url: URL) {
    this.description = `${server.description}, blob ${id}`;
    this.#what = `read blob ${id} from ${server.description}`;
  }

  async read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const headers = { range: rangeHeader(offset, length) };
    return await this.#retrying(
      options,
      (attempt) => this.#get(headers, attempt, (response) => readRange(response, offset, length, options)),
    );
  }

  stream(size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    return wholeStream(size, signal, async ({ signal, headers, take }) => {
      await this.#retrying({ priority: "on-demand", signal }, (attempt) => this.#get(headers(), attempt, take));
    });
  }

  async size(signal?: AbortSignal): Promise<number> {
    const options: ReadOptions = { priority: "on-demand", ...(signal === undefined ? {} : { signal }) };
    return await this.#retrying(
      options,
      async (attempt) => await this.#askSize(attempt) ?? await this.#askFirstByte(attempt),
    );
  }

  /** Returns undefined if the server refuses HEAD or sends no length. */
  #askSize(options: RoutingOptions): Promise<number | undefined> {
    return this.#exchange("HEAD", {}, options, async (response) => {
      await response.discard();
      return isSuccess(response) ? response.contentLength : undefined;
    });
  }

  /**
   * Unlike a HEAD, a refused GET has a body that gives the reason; a successful one gives the size in Content-Range.
   */
  #askFirstByte(options: RoutingOptions): Promise<number> {
    return this.#get({ range: rangeHeader(0, 1) }, options, async (response) => {
      await response.discard();
      return totalSize(response);
    });
  }

  /** A GET whose refusal is thrown, as the server explains it. */
  #get<T>(
    headers: Headers,
    options: RoutingOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    return this.#exchange("GET", headers, options, async (response) => {
      if (!isSuccess(response)) throw await this.server.refusal(response);
      return await consume(response);
    });
  }

  async #exchange<T>(
    method: ReadMethod,
    headers: Headers,
    options: RoutingOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const { access } = this.server;
    const request = { method, url: this.url, headers: await this.server.authorize(method, this.url, headers) };
    return await access.http.exchange(request, { ...options, ...access.exchange }, consume);
  }

  async #retrying<T>(options: ReadOptions, attempt: (options: RoutingOptions) => Promise<T>): Promise<T> {
    try {
      return await withRetries(
        this.server.access.http.retryLimits([this.url]),
        options.signal,
        (isLast) => attempt({ ...options, bypassProxy: isLast && options.priority === "on-demand" }),
      );
    } catch (error) {
      throw error instanceof TransferError ? error.of(this.#what) : error;
    }
  }
}

function isSuccess({ status }: HttpResponse): boolean {
  return status >= 200 && status < 300;
}
