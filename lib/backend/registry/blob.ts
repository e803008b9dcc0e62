/**
 * A blob of a repository, read by ranges or from start to end.
 *
 * ```
 * GET /v2/<repo>/blobs/sha256:<id>   Range: bytes=a-b ──► 206, or a redirect to a store that gives the 206
 * ```
 * The redirect target is remembered per host for as long as it is valid, so most reads take one request. A response
 * must hold exactly the range: a 206 with another Content-Range, or with a shorter or longer body, is retried. A 200 is
 * cut to the range if that is cheap.
 *
 * A blob that is wanted whole is one request without a range, since not all servers know ranges, and pull-through caches
 * keep what was requested whole.
 *
 * @module
 */
import { blobDigest } from "../blob_id.ts";
import type { BlobSource, ReadOptions } from "../blob_source.ts";
import { rangeHeader, readRange, totalSize } from "../http/range.ts";
import type { HttpResponse } from "../http/http_response.ts";
import type { RoutingOptions } from "../http/proxy.ts";
import { HostMemory } from "./host_memory.ts";
import { locationLifetimeMs } from "./location_lifetime.ts";
import type { RegistryHost, Repository } from "./repository.ts";
import { TransferError } from "../http/transfer_error.ts";
import { wholeStream } from "../http/whole_stream.ts";

/** HTTP status of an answer to a range that begins after the end. */
const NO_SUCH_RANGE = 416;

interface Remembered {
  readonly url: URL;
  /** In milliseconds of performance.now(). */
  readonly untilMs: number;
}

/** A blob in a registry. */
export class RegistryBlob implements BlobSource {
  readonly description: string;
  readonly #path: string;
  readonly #what: string;
  readonly #locations = new Map<RegistryHost, Remembered>();
  readonly #memory = new HostMemory();

  /** @param id 64 hexadecimal digits */
  constructor(private readonly repository: Repository, id: string) {
    const digest = blobDigest(id);
    this.description = `${repository.description}, blob ${id}`;
    this.#what = `read blob ${id} from ${repository.description}`;
    this.#path = `/v2/${repository.name}/blobs/${digest}`;
  }

  async read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const headers = { range: rangeHeader(offset, length) };
    const request = { method: "GET", path: this.#path, headers, what: this.#what } as const;
    const ask = (host: RegistryHost, routing: RoutingOptions) =>
      this.#fromLocation(host, (startAt) =>
        host.once({ ...request, startAt }, routing, async (response) => {
          const bytes = await readRange(response, offset, length, options);
          this.#remember(host, response);
          return bytes;
        }));
    const range = { memory: this.#memory, offset, length };
    return await this.repository.retrying(options, ask, { capability: "pull", range });
  }

  stream(size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const request = { method: "GET", path: this.#path, what: this.#what } as const;
    return wholeStream(size, signal, async ({ signal, headers, take }) => {
      const ask = (host: RegistryHost, routing: RoutingOptions) =>
        this.#fromLocation(
          host,
          (startAt) =>
            host.once({ ...request, headers: headers(), startAt }, routing, async (response) => {
              await take(response);
              this.#remember(host, response);
            }),
        );
      await this.repository.retrying({ priority: "on-demand", signal }, ask, { capability: "pull" });
    });
  }

  /**
   * Asks for the first byte, whose answer tells the size at once: a pull-through cache answers a HEAD only when it has all
   * of the blob. It also tells where the host redirects to.
   */
  async size(signal?: AbortSignal): Promise<number> {
    const options: ReadOptions = { priority: "on-demand", ...(signal === undefined ? {} : { signal }) };
    const request = {
      method: "GET",
      path: this.#path,
      headers: { range: rangeHeader(0, 1) },
      what: this.#what,
    } as const;
    const ask = (host: RegistryHost, routing: RoutingOptions) =>
      host.once(request, routing, async (response) => {
        await response.discard();
        this.#remember(host, response);
        return totalSize(response);
      });
    try {
      return await this.repository.retrying(options, ask, { capability: "pull" });
    } catch (error) {
      if (!(error instanceof TransferError) || error.status !== NO_SUCH_RANGE) throw error;
      return await this.#sizeByHead(options); // an empty blob has no first byte
    }
  }

  #sizeByHead(options: ReadOptions): Promise<number> {
    const head = { method: "HEAD", path: this.#path, what: this.#what } as const;
    return this.repository.request(head, options, async (response) => {
      await response.discard();
      return totalSize(response);
    });
  }

  /** Calls `attempt` with the remembered target of the host's redirect, if any, and without it if it has expired. */
  async #fromLocation<T>(host: RegistryHost, attempt: (startAt: URL | undefined) => Promise<T>): Promise<T> {
    const location = this.#usableLocation(host);
    if (location === undefined) return await attempt(undefined);
    try {
      return await attempt(location);
    } catch (error) {
      this.#locations.delete(host);
      // An HTTP error means that the redirect target has expired; the registry gives a new one.
      if (!(error instanceof TransferError) || error.status === undefined) throw error;
    }
    return await attempt(undefined);
  }

  #usableLocation(host: RegistryHost): URL | undefined {
    const location = this.#locations.get(host);
    if (location === undefined || performance.now() < location.untilMs) return location?.url;
    this.#locations.delete(host);
    return undefined;
  }

  #remember(host: RegistryHost, response: HttpResponse): void {
    const { url } = response;
    if (host.endpoint.owns(url) || this.#locations.get(host)?.url.href === url.href) return;
    this.#locations.set(host, { url, untilMs: performance.now() + locationLifetimeMs(url) });
  }
}
