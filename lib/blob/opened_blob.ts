/**
 * A blob while it is open: what it keeps (blob_storage.ts), and what fetches its chunks.
 *
 * ```
 * open:  chunk table ─► storage ─► fetcher
 * close: fetcher ─► what is ready is recorded ─► storage
 * ```
 * The first image to use the blob opens it with its own description. Another image may know more chunks of the blob:
 * its digests are added. If two images contradict each other, the second gets a {@link DescriptionConflict}.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { hasCode, messageOf } from "../base/errors.ts";
import type { BlobDescriptor } from "../rafs/bootstrap.ts";
import type { ChunkPlaces } from "../rafs/blob/chunk_table.ts";
import type { BlobContext } from "./blob_context.ts";
import type { BlobSpec } from "./blob_spec.ts";
import { BlobStorage } from "./blob_storage.ts";
import { DescriptionConflict } from "./cache/blob_names.ts";
import { CopiesRecord } from "./cache/copies_record.ts";
import type { SyncState } from "./cache/lost_writes.ts";
import { HoleWatch } from "./hole_watch.ts";
import type { Readiness } from "./cache/readiness.ts";
import { VerifiedDigests } from "./cache/verified.ts";
import { ChunkFetcher } from "./fetch/chunk_fetcher.ts";
import { RangedSource } from "./fetch/ranged_source.ts";
import { loadChunkTable } from "./tables/blob_table.ts";
import { ChunkIndex } from "./tables/chunk_index.ts";
import { placesOf } from "./tables/chunk_table_file.ts";
import type { TableSource } from "./tables/table_source.ts";

/** Plain bytes that are requested at once of a blob that was transferred as a whole. */
const KEPT_BYTES = 4 << 20;

/** An open blob, for threads that read the cache file directly. Plain data; can be posted to a Worker. */
export interface OpenBlob {
  /** File descriptor of the cache file, which holds plain data at uncompressed offsets. Closed with the blob. */
  readonly dataFd: number;
  readonly chunks: ChunkPlaces;
  /** One bit per chunk (cache/bits.ts). Set: the chunk is verified and in the cache file. */
  readonly ready: Uint8Array<SharedArrayBuffer>;
  /**
   * Which chunks are on disk. Of the others a reader has to ask afterwards whether the disk has lost them:
   * cache/lost_writes.ts.
   */
  readonly synced: SyncState;
  /** Path of the cache file; undefined if it has none. */
  readonly path: string | undefined;
  /** One bit per chunk, in the same order: a reader of a chunk whose bit is set clears it and has `Blob.reached` called. */
  readonly watched: Uint8Array<SharedArrayBuffer>;
}

/** An open blob. Threads that read its cache file get its {@link view}. */
export class OpenedBlob {
  readonly view: OpenBlob;
  readonly fetcher: ChunkFetcher;
  readonly #copies: CopiesRecord;
  readonly #holes: HoleWatch | undefined;

  private constructor(
    private readonly context: BlobContext,
    readonly descriptor: BlobDescriptor,
    private readonly description: string,
    private readonly storage: BlobStorage,
  ) {
    const { id, parts: { folder, flush }, paths } = context;
    const { files: { data }, target: { dataFd, ready, columns }, readiness } = storage;
    const { synced } = readiness;
    const watched = new Uint8Array(new SharedArrayBuffer(ready.length));
    const path = folder.keeps ? data.path : undefined;
    this.view = { dataFd, chunks: placesOf(columns), ready, synced, watched, path };
    this.fetcher = fetcherOf(context, storage, watched);
    this.#copies = new CopiesRecord(folder, paths.copies);
    const watchedFile = { id, readiness, fetcher: this.fetcher, places: columns };
    this.#holes = flush && new HoleWatch(watchedFile, flush.lookForHolesMs);
  }

  /**
   * Loads the chunk table and opens the files.
   *
   * @param description of the blob in `spec`: `BlobNames.description`
   * @param signal aborted when `spec` must no longer be used
   * @throws {DescriptionConflict} when the files are described differently
   */
  static async open(
    context: BlobContext,
    spec: BlobSpec,
    description: string,
    signal: AbortSignal,
  ): Promise<OpenedBlob> {
    const { id, paths, parts, table } = context;
    const { descriptor } = spec;
    const onDisk = VerifiedDigests.descriptionIn(paths.verified);
    if (onDisk !== undefined) requireSame(id, description, onDisk);
    parts.decoder.prepare(descriptor.digester);
    await using meta = ownMeta(context, spec);
    const columns = await loadChunkTable(tableSource(context, spec, meta ?? context.sources, signal), table);
    using cleanup = new DisposableStack();
    const storage = cleanup.use(await BlobStorage.open(context, descriptor, description, columns));
    const opened = new OpenedBlob(context, descriptor, description, storage);
    cleanup.move();
    context.sources.onWhole(() => opened.#keepAll());
    return opened;
  }

  /** Fetches every chunk that can be fetched. @throws the error of the last one that cannot */
  async #keepAll(): Promise<void> {
    const { dataSize } = this.storage.target;
    let failure: Promise<void> | undefined;
    for (let at = 0; at < dataSize; at += KEPT_BYTES) {
      const kept = this.fetcher.ensure(at, Math.min(KEPT_BYTES, dataSize - at), "prefetch");
      await kept.catch(() => failure = kept);
    }
    await failure;
  }

  get readiness(): Readiness {
    return this.storage.readiness;
  }

  /**
   * Adds what another image knows of the blob.
   *
   * @throws {DescriptionConflict} when it contradicts the images that have the blob open
   */
  add(spec: BlobSpec, description: string): void {
    const { id } = this.context;
    requireSame(id, description, this.description);
    try {
      if (this.storage.add(spec) === "chunks") this.fetcher.index = new ChunkIndex(this.storage.target.columns);
    } catch (error) {
      if (!hasCode(error, "invalid-image")) throw error;
      const state = `a mounted image has different chunks in it: ${messageOf(error)}`;
      throw new DescriptionConflict(id, "chunks", state, error);
    }
  }

  /** Returns the name for copies of the blob as described now: {@link CopiesRecord.name}. */
  copiesName(): Promise<string> {
    const { files: { data }, target: { digester, columns } } = this.storage;
    return this.#copies.name(() => ({ digester, data: data.identity(), columns }));
  }

  /** Stops fetching: callers of the fetcher get "interrupted". */
  async stop(): Promise<void> {
    this.#holes?.[Symbol.dispose]();
    await this.fetcher.close();
  }

  /**
   * Records what is ready and closes the files. Call {@link stop} first.
   *
   * @throws {NydusGdError} "io" when it cannot be recorded; all is closed nevertheless
   */
  async close(): Promise<void> {
    using storage = this.storage;
    await this.#copies.settled();
    this.context.parts.decoder.drop(storage.target.key);
    await storage.finish();
  }
}

/** @throws {DescriptionConflict} when a description is not the present one */
function requireSame(id: string, description: string, present: string): void {
  if (description === present) return;
  throw new DescriptionConflict(id, "blob", "its files belong to an image that describes it differently");
}

/** The blob that holds nothing but the compression info, if there is one. */
function ownMeta({ parts }: BlobContext, { metaSource }: BlobSpec): RangedSource | undefined {
  return metaSource && new RangedSource(metaSource, { ...parts, onBytes: () => {} });
}

/**
 * Returns the source of the blob's chunk table, which is read before anything else that is on demand.
 *
 * @param from the blob that holds it
 */
function tableSource(
  { id, parts }: BlobContext,
  spec: BlobSpec,
  from: Pick<RangedSource, "read">,
  signal: AbortSignal,
): TableSource {
  const { descriptor, records, embeddedMeta, source, metaSource } = spec;
  return {
    id,
    descriptor,
    records: () => {
      throwIfAborted(signal);
      return records();
    },
    ...(embeddedMeta === undefined ? {} : { embeddedMeta }),
    read: (offset, length, soon = signal) =>
      parts.queue.run("on-demand", (_, onWait) =>
        parts.link.timed((progress) => {
          const onProgress = (_: Uint8Array, filled: number) => progress(filled);
          return from.read(offset, length, { priority: "on-demand", signal: soon, onProgress, onWait });
        })),
    size: (soon = signal) => (metaSource ?? source).size(soon),
    signal,
  };
}

function fetcherOf(
  { id, sources, parts, onCorrupt }: BlobContext,
  { target, readiness }: BlobStorage,
  watched: OpenBlob["watched"],
): ChunkFetcher {
  const { folder, decoder, queue, link, memory, tuner, room, isExhausted } = parts;
  return new ChunkFetcher({
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
    hasSurroundings: () => tuner.current.hasSurroundings && queue.options.readAheadLimit > 0 && !isExhausted(),
    room,
    diskHint: folder.diskHint,
    onCorrupt,
  }, new ChunkIndex(target.columns));
}
