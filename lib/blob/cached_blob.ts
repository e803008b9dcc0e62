/**
 * One blob in the cache, shared by all images that contain it.
 *
 * The first image to use the blob opens it with its own description. Another image may know more chunks of the blob:
 * its digests are added. If two images contradict each other, the first keeps its files and the second gets files of
 * another name (blob_names.ts).
 *
 * @module
 */
import type { BlobSource } from "../backend/blob_source.ts";
import { throwIfAborted } from "../base/abort.ts";
import { hasCode, ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type BlobDescriptor, type ChunkRecord, RafsError } from "../rafs/bootstrap.ts";
import { chunkColumnsFromRecords } from "../rafs/blob_meta.ts";
import { cacheSizes } from "../rafs/cache_layout.ts";
import type { ChunkColumns, ChunkPlaces } from "../rafs/chunk_table.ts";
import type { ResponseBuffers } from "./fetch/response_buffers.ts";
import { type BlobNames, DescriptionConflict } from "./cache/blob_names.ts";
import { loadChunkTable } from "./tables/blob_table.ts";
import { BlobFiles, type BlobPaths, blobPaths, type CacheFolder, hasDataFile } from "./cache/cache_files.ts";
import type { WithRoom } from "./cache/cache_space.ts";
import type { DecodeTarget } from "./decode/chunk_decoder.ts";
import { ChunkFetcher, type OnDemand } from "./fetch/chunk_fetcher.ts";
import { ChunkIndex } from "./tables/chunk_index.ts";
import { ChunkTableFile, placesOf } from "./tables/chunk_table_file.ts";
import { copiesName } from "./cache/copies_record.ts";
import type { Decoder } from "./decode/decoder.ts";
import type { FetchQueue } from "./fetch/fetch_queue.ts";
import type { FetchTuner } from "./fetch/fetch_tuning.ts";
import type { LinkEstimate } from "./fetch/link_estimate.ts";
import { addDigests, addRows } from "./tables/merge_tables.ts";
import { type FlushOptions, Readiness } from "./cache/readiness.ts";
import { BlobSources } from "./fetch/sources.ts";
import { VerifiedDigests } from "./cache/verified.ts";

const log = logger("blob");

/** One image's description of a blob. */
export interface BlobSpec {
  readonly descriptor: BlobDescriptor;
  /** Name of the blob if the descriptor has a placeholder: `effectiveBlobId` of lib/rafs/flags.ts. */
  readonly id?: string;
  readonly source: BlobSource;
  /** The blob that holds the compression info, and its id; absent: it is in `source`. */
  readonly metaSource?: BlobSource | undefined;
  readonly metaId?: string | undefined;
  /** The chunk records of the image; those of other blobs are ignored. Called while the image is open. */
  readonly records: () => Iterable<Readonly<ChunkRecord>>;
  /** `.blob.meta` shipped with the image, in the form of the blob or of the cache. */
  readonly embeddedMeta?: Uint8Array;
  /**
   * Notified of the chunks that readers of the image wait for, and of those fetched along with them: see
   * chunk_fetcher.ts.
   */
  readonly onDemand?: OnDemand;
}

/** An open blob, for threads that read the cache file directly. Plain data; can be posted to a Worker. */
export interface OpenBlob {
  /** File descriptor of the cache file: plain chunks at their uncompressed offsets. Closed with the blob. */
  readonly dataFd: number;
  readonly chunks: ChunkPlaces;
  /** One bit per chunk (bits.ts). Set: the chunk is verified and in the cache file. */
  readonly ready: Uint8Array<SharedArrayBuffer>;
  /** Path of the cache file; undefined for a transient cache, whose files have no name. */
  readonly path: string | undefined;
  /** One bit per chunk: a reader of a chunk whose bit is set clears it and calls `Blob.reached`. */
  readonly watched: Uint8Array<SharedArrayBuffer>;
}

/** Parts that all blobs of a cache share. */
export interface CacheParts {
  readonly folder: CacheFolder;
  readonly decoder: Decoder;
  readonly queue: FetchQueue;
  readonly link: LinkEstimate;
  readonly memory: ResponseBuffers;
  readonly tuner: FetchTuner;
  /** Undefined: nothing is recorded. */
  readonly flush: FlushOptions | undefined;
  /** Runs a write of plain bytes once there is space for them. */
  readonly room: WithRoom;
}

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
  /** Error of the last request; absent if it succeeded or there was none. */
  readonly lastFailure?: string;
}

/** The parts of an open blob. */
interface Opened {
  readonly descriptor: BlobDescriptor;
  readonly description: string;
  readonly view: OpenBlob;
  readonly files: BlobFiles;
  /** Undefined: the table is kept in memory. */
  readonly table: ChunkTableFile | undefined;
  readonly readiness: Readiness;
  readonly fetcher: ChunkFetcher;
  readonly target: DecodeTarget;
}

let nextKey = 1;

/** A blob of the cache. Images hold it through {@link Blob}. */
export class CachedBlob {
  readonly sources = new BlobSources();
  readonly #paths: BlobPaths;
  #opening: Promise<Opened> | undefined;
  #opened: Opened | undefined;
  readonly #stop = new AbortController();
  #corruptChunks = 0;
  /** Settles when the chunk table is stored in the cache or set aside. */
  #keeping: Promise<void> | undefined;
  /** Settles when no copies record is being written. */
  #naming: Promise<unknown> = Promise.resolve();

  /**
   * @param name name of its files, one of `names`
   * @param before resolves when the previous user of the same files has closed them
   * @throws {NydusGdError} "invalid-image" for an id that is not a valid file name
   */
  constructor(
    readonly name: string,
    private readonly names: BlobNames,
    readonly descriptor: BlobDescriptor,
    private readonly parts: CacheParts,
    private readonly before: Promise<unknown>,
  ) {
    this.#paths = blobPaths(parts.folder.path, name);
  }

  get id(): string {
    return this.names.id;
  }

  get mayBeStored(): boolean {
    return this.#opened !== undefined || hasDataFile(this.#paths);
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
        this.#merge(this.#opened, spec, names);
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

  #needOpened(): Opened {
    if (this.#opened === undefined) throw new NydusGdError("internal", `Cannot read blob ${this.id}: it is not open`);
    return this.#opened;
  }

  /** A reader has read a watched chunk. */
  reached(row: number): void {
    this.#opened?.fetcher.reached(row);
  }

  /**
   * Returns the name for copies of the open blob as described now: see {@link copiesName}. @throws {NydusGdError} "io"
   */
  copiesName(): Promise<string> {
    const naming = this.#naming.then(() => this.#nameCopies());
    this.#naming = naming.catch(() => undefined); // reported to the caller
    return naming;
  }

  async #nameCopies(): Promise<string> {
    const { files: { data }, target: { columns, digester } } = this.#needOpened();
    const { copies } = this.#paths;
    try {
      return await copiesName(this.parts.folder, copies, { digester, data: data.identity(), columns });
    } catch (error) {
      throw new NydusGdError("io", `Cannot record copies in "${copies}": ${messageOf(error)}`, { cause: error });
    }
  }

  /** Records everything that is ready on disk. */
  async flush(): Promise<void> {
    await this.#opened?.readiness.flush();
  }

  /** Stops fetching, records what is ready and closes the files. */
  async close(): Promise<void> {
    this.#stop.abort(new NydusGdError("interrupted", `Cannot open blob ${this.id}: it is being closed`));
    await Promise.allSettled([this.#opening]);
    const opened = this.#opened;
    await opened?.fetcher.close();
    await this.#keeping; // final: nothing is fetched any more
    await this.#naming;
    if (opened === undefined) return;
    this.#opened = undefined;
    this.parts.decoder.drop(opened.target.key);
    try {
      await opened.readiness.flush();
      opened.files.touch();
    } finally {
      opened.files[Symbol.dispose]();
      opened.table?.[Symbol.dispose]();
    }
  }

  stats(): BlobStats {
    const { id, sources } = this;
    const { compressedSize, uncompressedSize, chunkCount } = this.#opened?.descriptor ?? this.descriptor;
    return {
      id,
      compressedSize,
      uncompressedSize,
      chunks: this.#opened?.view.chunks.count ?? chunkCount,
      chunksReady: this.#opened?.readiness.count() ?? 0,
      ...sources.counters,
      corruptChunks: this.#corruptChunks,
      sources: sources.descriptions,
      ...(sources.lastFailure === undefined ? {} : { lastFailure: sources.lastFailure }),
    };
  }

  async #openFiles(spec: BlobSpec, { description }: BlobNames, signal: AbortSignal): Promise<Opened> {
    await this.before;
    const { parts, id, sources } = this;
    const onDisk = VerifiedDigests.descriptionIn(this.#paths.verified);
    if (onDisk !== undefined) this.#requireSame(description, onDisk);
    parts.decoder.prepare(spec.descriptor.digester);
    const { descriptor, records, embeddedMeta, source, metaSource } = spec;
    const tableSources = metaSource ?? sources;
    const read = (offset: number, length: number, soon = signal) =>
      parts.queue.run("on-demand", () =>
        parts.link.timed((progress) => {
          const onProgress = (_: Uint8Array, filled: number) => progress(filled);
          return tableSources.read(offset, length, { priority: "on-demand", signal: soon, onProgress });
        }));
    const size = (soon = signal) => (metaSource ?? source).size(soon);
    const recordsNow = () => {
      throwIfAborted(signal);
      return records();
    };
    const tableSource = { id, descriptor, records: recordsNow, read, size, signal };
    const loaded = await loadChunkTable(
      embeddedMeta === undefined ? tableSource : { ...tableSource, embeddedMeta },
      { path: this.#paths.meta, doubtfulPath: this.#paths.doubtfulMeta, keep: (content) => this.#keep(content) },
    );
    const { digester, compressor, cipher } = descriptor;
    const dataSize = cacheSizes(descriptor, loaded).data;
    using cleanup = new DisposableStack();
    const subject = { id, description, digester, columns: loaded, dataSize };
    const files = cleanup.use(await BlobFiles.open(parts.folder, this.#paths, subject));
    files.touch();
    const table = cleanup.use(ChunkTableFile.store(loaded, parts.folder.path));
    const columns = table?.columns ?? loaded;
    const readiness = new Readiness(id, files, columns, parts.flush);
    const { ready } = readiness;
    const watched = new Uint8Array(new SharedArrayBuffer(ready.length));
    const dataFd = files.data.fd.raw;
    const posted = table?.posted;
    const target = { key: nextKey++, columns, posted, ready, dataFd, dataSize, compressor, digester, cipher };
    const { decoder, queue, link, memory, tuner, room } = parts;
    const fetcher = new ChunkFetcher({
      id,
      target,
      watched,
      readiness,
      sources,
      decoder,
      queue,
      link,
      memory,
      limits: (urgency) => tuner.limits(urgency),
      maxAheadBytes: () => tuner.current.readAheadBytes,
      room,
      onCorrupt: (row) => this.#onCorrupt(row),
    }, new ChunkIndex(columns));
    const path = parts.folder.keeps ? files.data.path : undefined;
    cleanup.move();
    const view = { dataFd, chunks: placesOf(columns), ready, watched, path };
    return { descriptor, description, view, files, table, readiness, fetcher, target };
  }

  #merge(opened: Opened, spec: BlobSpec, { description }: BlobNames): void {
    this.#requireSame(description, opened.description);
    try {
      this.#addChunks(opened, spec);
    } catch (error) {
      if (!hasCode(error, "invalid-image")) throw error;
      throw new DescriptionConflict(
        this.id,
        "chunks",
        `a mounted image has different chunks in it: ${messageOf(error)}`,
        error,
      );
    }
  }

  #addChunks({ target: { columns }, table, files, fetcher }: Opened, { descriptor, records }: BlobSpec): void {
    const change = (work: (columns: ChunkColumns) => void) => table === undefined ? work(columns) : table.change(work);
    if (descriptor.meta !== undefined) return change((own) => addDigests(own, descriptor, records()));
    const more = chunkColumnsFromRecords(descriptor, records());
    if (files.verified.matching(more, files.dataSize) === undefined) {
      throw new RafsError("Cannot add chunks: others were in their places");
    }
    change((own) => addRows(this.id, own, more, files.data.sizeBytes));
    fetcher.index = new ChunkIndex(columns);
  }

  #requireSame(description: string, present: string): void {
    if (description === present) return;
    throw new DescriptionConflict(this.id, "blob", "its files belong to an image that describes it differently");
  }

  /**
   * A wrong chunk may be caused by the data or by the chunk table, which no digest covers. Sets the table aside, so
   * that the next open fetches a fresh one and falls back to this one.
   */
  #onCorrupt(row: number): void {
    if (this.#corruptChunks++ > 0) return;
    log.warn("chunk is corrupt at its source", { blob: this.id, chunk: row, sources: this.sources.descriptions });
    const { meta, doubtfulMeta } = this.#paths;
    this.#keeping = Promise.resolve(this.#keeping).then(() => Deno.rename(meta, doubtfulMeta)).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return; // the table was not cached, or is set aside already
      log.warn("blob meta not set aside", { path: meta, error: messageOf(error) });
    });
  }

  /**
   * Stores the chunk table and removes the doubtful one. Readers do not wait for the disk; a table that cannot be
   * stored is fetched again.
   */
  #keep(content: Uint8Array): void {
    const { meta, doubtfulMeta } = this.#paths;
    const keep = async () => {
      await this.parts.folder.replace(meta, content);
      await ignore(Deno.errors.NotFound, Deno.remove(doubtfulMeta));
    };
    this.#keeping = keep().catch((error) => {
      log.warn("blob meta not cached", { path: meta, error: messageOf(error) });
    });
  }
}
