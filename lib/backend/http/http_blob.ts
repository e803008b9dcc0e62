/**
 * One blob behind one URL: HEAD tells its size, ranges give its bytes.
 *
 * What buckets and plain file servers share. A {@link BlobServer} says how a request becomes one of ours, and what a
 * refusal means. Redirects are not followed: such a server is asked under its own name or not at all, and a signature
 * is good for one host only.
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

/** Lower-case names. */
export type Headers = Readonly<Record<string, string>>;
export type ReadMethod = "GET" | "HEAD";

/** How all requests of a backend are sent. */
export interface ServerAccess {
  readonly http: HttpClient;
  readonly exchange: Pick<ExchangeOptions, "tls" | "timeouts" | "socketPath" | "proxy">;
}

/** A server of blobs. */
export interface BlobServer {
  /** For logs and errors: "s3 127.0.0.1:9000/images". */
  readonly description: string;
  readonly access: ServerAccess;
  /** `headers` with what authorizes the request. Asked for each attempt, since signatures carry the time. */
  authorize(method: ReadMethod, url: URL, headers: Headers): Promise<Headers>;
  /** What an answer means that is not one of success. Reads the body. */
  refusal(response: HttpResponse): Promise<TransferError>;
}

/** See the module. */
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
      (attempt) => this.#once("GET", headers, attempt, (response) => readRange(response, offset, length, options)),
    );
  }

  async size(signal?: AbortSignal): Promise<number> {
    const options: ReadOptions = { priority: "on-demand", ...(signal === undefined ? {} : { signal }) };
    return await this.#retrying(
      options,
      async (attempt) => await this.#askSize(attempt) ?? await this.#askFirstByte(attempt),
    );
  }

  /** Undefined where the server refuses or does not say. */
  #askSize(options: RoutingOptions): Promise<number | undefined> {
    return this.#exchange("HEAD", {}, options, async (response) => {
      await response.discard();
      return isSuccess(response) ? response.contentLength : undefined;
    });
  }

  /** A refused HEAD has no body that says why; the answer to a range has one, and tells the size where there is none. */
  #askFirstByte(options: RoutingOptions): Promise<number> {
    return this.#once("GET", { range: rangeHeader(0, 1) }, options, async (response) => {
      await response.discard();
      return totalSize(response);
    });
  }

  #once<T>(
    method: ReadMethod,
    headers: Headers,
    options: RoutingOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    return this.#exchange(method, headers, options, async (response) => {
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
        this.server.access.http.options.retries,
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
