/**
 * One blob in the cache, shared by all images that contain it: opened with the first use, closed with the last.
 *
 * Several images may open it at once: one attempt runs at a time, and the next image adds what it knows to the open blob
 * (opened_blob.ts). If two images contradict each other, the first keeps its files and the second gets files of another
 * name (cache/blob_names.ts).
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { BlobContext, CacheParts } from "./blob_context.ts";
import type { BlobSpec } from "./blob_spec.ts";
import type { BlobNames } from "./cache/blob_names.ts";
import { blobPaths, hasDataFile } from "./cache/blob_paths.ts";
import { CachedTable } from "./cache/cached_table.ts";
import type { Readiness } from "./cache/readiness.ts";
import type { ChunkFetcher } from "./fetch/chunk_fetcher.ts";
import { BlobSources } from "./fetch/sources.ts";
import { type OpenBlob, OpenedBlob } from "./opened_blob.ts";

const log = logger("blob");

/** Statistics of one blob; those about fetching count from its opening. */
export interface BlobStats {
  readonly id: string;
  /** Size of the blob at its backend in bytes, 0 if unknown. */
  readonly compressedSize: number;
  /** Size of the complete data file in bytes, 0 if unknown. */
  readonly uncompressedSize: number;
  readonly chunks: number;
  readonly chunksReady: number;
  /** Bytes received from sources, including the chunk table. */
  readonly bytesFetched: number;
  readonly requests: number;
  readonly failedRequests: number;
  /** Chunks that were still wrong after fetching them again. */
  readonly corruptChunks: number;
  /** Descriptions of the sources. */
  readonly sources: readonly string[];
  /** Whether the blob is being transferred as a whole, since its server ignores ranges. */
  readonly isWhole: boolean;
  /** Error of the last request; absent if it succeeded or there was none. */
  readonly lastFailure?: string;
}

/** A blob of the cache. Images hold it through {@link Blob}. */
export class CachedBlob {
  readonly sources: BlobSources;
  readonly #context: BlobContext;
  readonly #stop = new AbortController();
  #opening: Promise<OpenedBlob> | undefined;
  #opened: OpenedBlob | undefined;
  #corruptChunks = 0;

  /**
   * @param name name of its files, one of `names`
   * @param before resolves when the previous user of the same files has closed them
   * @throws {NydusGdError} "invalid-image" for an id that is not a valid file name
   */
  constructor(
    readonly name: string,
    private readonly names: BlobNames,
    parts: CacheParts,
    private readonly before: Promise<unknown>,
  ) {
    const sources = this.sources = new BlobSources(parts);
    const paths = blobPaths(parts.folder.path, name);
    const table = new CachedTable(parts.folder, paths);
    this.#context = { id: names.id, paths, sources, table, parts, onCorrupt: (row) => this.#onCorrupt(row) };
  }

  get id(): string {
    return this.names.id;
  }

  get mayBeStored(): boolean {
    return this.#opened !== undefined || hasDataFile(this.#context.paths);
  }

  /**
   * Opens the blob with `spec`. If it is already open, adds what `spec` knows.
   *
   * @param names names of the blob by its description in `spec`
   * @param signal aborted when `spec` must no longer be used
   * @throws {DescriptionConflict} when the open blob, or its files on disk, are described differently
   */
  async open(spec: BlobSpec, names: BlobNames, signal: AbortSignal): Promise<OpenBlob> {
    for (;;) {
      throwIfAborted(this.#stop.signal);
      throwIfAborted(signal);
      if (this.#opened !== undefined) {
        this.#opened.add(spec, names.description);
        return this.#opened.view;
      }
      if (this.#opening === undefined) {
        this.#opening = this.#openFiles(spec, names, AbortSignal.any([this.#stop.signal, signal]));
        try {
          this.#opened = await this.#opening;
          return this.#opened.view;
        } finally {
          this.#opening = undefined;
        }
      }
      // opened by another image, whose failure does not concern this one
      await Promise.allSettled([this.#opening]);
    }
  }

  /** The fetcher of an open blob. */
  get fetcher(): ChunkFetcher {
    return this.#needOpened().fetcher;
  }

  /** The readiness of an open blob. */
  get readiness(): Readiness {
    return this.#needOpened().readiness;
  }

  #needOpened(): OpenedBlob {
    if (this.#opened === undefined) throw new NydusGdError("internal", `Cannot read blob ${this.id}: it is not open`);
    return this.#opened;
  }

  /** A reader has read a watched chunk. */
  reached(row: number): void {
    this.#opened?.fetcher.reached(row);
  }

  /** Returns the name for copies of the open blob as described now. @throws {NydusGdError} "io" */
  async copiesName(): Promise<string> {
    return await this.#needOpened().copiesName();
  }

  /** Records everything that is ready on disk. */
  async flush(): Promise<void> {
    await this.#opened?.readiness.flush();
  }

  /** Stops fetching, records what is ready and closes the files. */
  async close(): Promise<void> {
    this.#stop.abort(new NydusGdError("interrupted", `Cannot open blob ${this.id}: it is being closed`));
    await Promise.allSettled([this.before, this.#opening]); // its files are not free before the previous user's end
    const opened = this.#opened;
    await opened?.stop();
    await this.#context.table.settled(); // final: nothing is fetched any more
    await this.sources.endTransfers();
    this.#opened = undefined;
    await opened?.close();
  }

  stats(): BlobStats {
    const { id, sources } = this;
    const { compressedSize, uncompressedSize, chunkCount } = this.#opened?.descriptor ?? this.names.descriptor;
    return {
      id,
      compressedSize,
      uncompressedSize,
      chunks: this.#opened?.view.chunks.count ?? chunkCount,
      chunksReady: this.#opened?.readiness.count() ?? 0,
      ...sources.counters,
      corruptChunks: this.#corruptChunks,
      sources: sources.descriptions,
      isWhole: sources.isWhole,
      ...(sources.lastFailure === undefined ? {} : { lastFailure: sources.lastFailure }),
    };
  }

  async #openFiles(spec: BlobSpec, { description }: BlobNames, signal: AbortSignal): Promise<OpenedBlob> {
    await this.before;
    return await OpenedBlob.open(this.#context, spec, description, signal);
  }

  /** A wrong chunk may be caused by the data or by the chunk table, which no digest covers. */
  #onCorrupt(row: number): void {
    if (this.#corruptChunks++ > 0) return;
    log.warn("chunk is corrupt at its source", { blob: this.id, chunk: row, sources: this.sources.descriptions });
    this.#context.table.setAside();
  }
}
