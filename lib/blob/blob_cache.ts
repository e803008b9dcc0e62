/**
 * The cache of blobs: one directory, owned by one server and shared by all its images.
 *
 * ```ts
 * await using cache = BlobCache.open("/var/lib/nydus-gd/cache");
 * const blob = cache.acquire(spec);
 * ```
 * ```
 * BlobCache ─► CachedBlob ─► OpenedBlob ─► fetch/  which chunks are requested, and when
 *                                          decode/ turns stored bytes into chunks, in Workers
 *                                          cache/  files, space, which chunks they hold
 *                                          tables/ which chunks a blob has
 *                                          codec/  compressors, ciphers, digests
 * ```
 * Each of these imports only those below it.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { ResponseBuffers } from "./fetch/response_buffers.ts";
import { Blob } from "./blob.ts";
import { BlobNames, type DescriptionConflict, tracesOf } from "./cache/blob_names.ts";
import { CacheFolder } from "./cache/cache_files.ts";
import type { CacheLimits } from "./cache/cache_limits.ts";
import { CacheSpace, type Collected, type CollectOptions } from "./cache/cache_space.ts";
import type { CacheParts } from "./blob_context.ts";
import type { BlobSpec } from "./blob_spec.ts";
import { type BlobStats, CachedBlob } from "./cached_blob.ts";
import { Decoder } from "./decode/decoder.ts";
import { FetchQueue } from "./fetch/fetch_queue.ts";
import { FetchTuner, type FetchTuning } from "./fetch/fetch_tuning.ts";
import { LinkEstimate } from "./fetch/link_estimate.ts";
import type { PrefetchUrgency } from "./prefetch.ts";

const log = logger("blob");

/** Tuning of the cache. */
export interface BlobCacheOptions extends FetchTuning {
  /** Maximum concurrent reads of sources. */
  readonly parallelRequests: number;
  /** Maximum of these that are read-ahead. */
  readonly parallelReadAhead: number;
  /** Milliseconds without an on-demand read before prefetch starts. */
  readonly prefetchQuietMs: number;
  /** Maximum bytes of a request for more than one chunk. */
  readonly maxRequestBytes: number;
  /** Maximum bytes of a gap between chunks that is fetched along. */
  readonly maxGapBytes: number;
  /** Decode Workers; 0: decode in the calling thread. */
  readonly decodeWorkers: number;
  /** Maximum plain bytes of a piece that is decoded in the calling thread. */
  readonly inlineDecodeBytes: number;
  /** Milliseconds without a job after which decode Workers are terminated and response buffers are freed. */
  readonly idleDecodeMs: number;
  /** Milliseconds after which a ready chunk is recorded on disk. */
  readonly flushAfterMs: number;
  /** Plain bytes of ready chunks after which they are recorded on disk. */
  readonly flushAfterBytes: number;
  /** Whether the cache persists for the next server. */
  readonly keep: boolean;
  /** Estimate of the link to start with; updated by reads. */
  readonly link: LinkEstimate | undefined;
  /** Size limits of the cache; undefined: limited only by its disk. */
  readonly limits: CacheLimits | undefined;
}

const DEFAULTS: BlobCacheOptions = {
  parallelRequests: 8,
  parallelReadAhead: 4,
  parallelPrefetch: 2,
  readAheadBytes: 1024 * 1024,
  prefetchRequestBytes: 1024 * 1024,
  prefetchBytesPerSecond: undefined,
  prefetchQuietMs: 30,
  maxRequestBytes: 8 * 1024 * 1024,
  maxGapBytes: 8 * 1024,
  decodeWorkers: 2,
  inlineDecodeBytes: 128 * 1024,
  idleDecodeMs: 10_000,
  flushAfterMs: 1000,
  flushAfterBytes: 64 * 1024 * 1024,
  keep: true,
  link: undefined,
  limits: undefined,
};

/** Statistics of the cache. */
export interface BlobCacheStats {
  readonly dir: string;
  readonly blobs: readonly BlobStats[];
  /** Totals over blobs that are or were held. */
  readonly bytesFetched: number;
  readonly requests: number;
  readonly failedRequests: number;
  readonly corruptChunks: number;
}

/** The parts of a cache before its free space is known. */
type BlobCacheParts = Omit<CacheParts, "room">;

type Totals = Pick<BlobStats, "bytesFetched" | "requests" | "failedRequests" | "corruptChunks">;

/** A blob and its holders. */
interface Held {
  readonly shared: CachedBlob;
  readonly holders: Set<Blob>;
}

/** Blobs by the name of their files, each open as long as an image holds it. */
export class BlobCache implements AsyncDisposable {
  /** Traces of the names other than plain ids that blobs have or had. */
  readonly #apart: Set<string>;
  readonly #held = new Map<string, Held>();
  /** Blobs whose files are being closed or removed; the next user waits for that. */
  readonly #closing = new Map<string, Promise<unknown>>();
  /** Evictions and releases that run in the background. */
  readonly #evicting = new Set<Promise<void>>();
  readonly #space: CacheSpace;
  readonly #parts: CacheParts;
  #isLeft = false;
  /**
   * Called when the cache exceeds its limits and all blobs are held: holders that keep blobs speculatively release
   * them.
   */
  onFull: (() => void) | undefined;
  #past: Totals = { bytesFetched: 0, requests: 0, failedRequests: 0, corruptChunks: 0 };
  #closed = false;

  private constructor(parts: BlobCacheParts, limits: CacheLimits | undefined) {
    this.#space = new CacheSpace(parts.folder, parts.folder.keeps ? limits : undefined, {
      isInUse: (name) => this.#isInUse(name),
      namesInUse: () => [...this.#held.keys(), ...this.#closing.keys()],
      whileUnused: (name, task) => this.#whileUnused(name, task),
      releaseIdle: () => this.onFull?.(),
    });
    this.#parts = { ...parts, room: (bytes, write) => this.#space.room(bytes, write) };
    this.#apart = new Set([...parts.folder.blobNames()].flatMap(tracesOf));
  }

  /**
   * Opens the directory, creates it if necessary, and locks it.
   *
   * @throws {NydusGdError} "busy" when another server owns it, "io"
   */
  static open(dir: string, options: Partial<BlobCacheOptions> = {}): BlobCache {
    const o = { ...DEFAULTS, ...options };
    const link = o.link ?? new LinkEstimate();
    const tuner = new FetchTuner(o, { maxRequest: o.maxRequestBytes, maxGap: o.maxGapBytes }, link);
    return new BlobCache({
      folder: o.keep ? CacheFolder.open(dir) : CacheFolder.openTransient(dir),
      decoder: new Decoder({ workers: o.decodeWorkers, inlineBytes: o.inlineDecodeBytes, idleMs: o.idleDecodeMs }),
      queue: new FetchQueue({
        limit: o.parallelRequests,
        readAheadLimit: Math.min(o.parallelReadAhead, o.parallelRequests - 1), // leaves a slot for an on-demand read
        prefetchLimit: () => tuner.parallelPrefetch(),
        quietMs: o.prefetchQuietMs,
        prefetchRate: () => tuner.current.prefetchBytesPerSecond,
      }),
      link,
      memory: new ResponseBuffers(o.maxRequestBytes, o.idleDecodeMs),
      tuner,
      flush: o.keep ? { flushAfterMs: o.flushAfterMs, flushAfterBytes: o.flushAfterBytes } : undefined,
    }, o.limits);
  }

  /**
   * Returns the blob for one image. Nothing is opened or fetched before it is used. Release it with {@link release}.
   *
   * @throws {NydusGdError} "invalid-image" for an id that is not a valid file name
   */
  acquire(spec: BlobSpec): Blob {
    const names = new BlobNames(spec);
    if (this.#closed) throw new NydusGdError("interrupted", `Cannot open blob ${names.id}: the cache is closed`);
    this.#space.keep(names.owners);
    const held = this.#hold(this.#nameOf(names), names, spec);
    const blob = new Blob(held.shared, names, spec, (moved, conflict) => this.#move(moved, conflict, spec));
    held.holders.add(blob);
    return blob;
  }

  /** Returns the longest of the image's names that has files, unless they were evicted meanwhile. */
  #nameOf(names: BlobNames): string {
    const { id, described, contradicted } = names;
    if (this.#apart.has(contradicted) && this.#apart.has(names.exact)) return names.exact;
    return this.#apart.has(described) ? described : id;
  }

  #hold(name: string, names: BlobNames, { descriptor }: BlobSpec): Held {
    for (const trace of tracesOf(name)) this.#apart.add(trace);
    let held = this.#held.get(name);
    if (held === undefined) {
      const before = this.#closing.get(name) ?? Promise.resolve();
      held = { shared: new CachedBlob(name, names, descriptor, this.#parts, before), holders: new Set() };
      this.#held.set(name, held);
    }
    return held;
  }

  /** Moves an image that contradicts the files it holds to files of another name. */
  #move(blob: Blob, conflict: DescriptionConflict, spec: BlobSpec): CachedBlob | undefined {
    const { names, shared } = blob;
    const name = names.after(shared.name, conflict);
    if (name === undefined) return undefined;
    log.info("images describe the blob differently, using a separate cache", { blob: blob.id, name });
    const { shared: other, holders } = this.#hold(name, names, spec);
    holders.add(blob);
    const logFailure = (error: unknown) => log.error("blob not closed", { blob: blob.id, error: messageOf(error) });
    this.#inBackground(this.#closeBlob(blob, shared).catch(logFailure));
    return other;
  }

  /**
   * Releases a blob. Its files are closed with its last holder. Idempotent.
   *
   * @throws {NydusGdError} "io" when its last chunks cannot be recorded; it is closed nevertheless
   */
  async release(blob: Blob): Promise<void> {
    if (blob.detach()) await this.#closeBlob(blob, blob.shared);
  }

  async #closeBlob(blob: Blob, shared: CachedBlob): Promise<void> {
    const { name } = shared;
    const held = this.#held.get(name);
    if (held === undefined || !held.holders.delete(blob) || held.holders.size > 0) return;
    this.#held.delete(name);
    const closing = shared.close().finally(() => {
      this.#past = sum([this.#past, shared.stats()]);
      if (this.#closing.get(name) === settled) this.#closing.delete(name);
    });
    const settled = Promise.allSettled([closing]); // the caller of release() gets the failure
    this.#closing.set(name, settled);
    await closing.finally(() => this.#released(name));
  }

  #released(name: string): void {
    if (!this.#isLeft) this.#inBackground(this.#space.released(name));
  }

  /** Registers a background task that {@link close} waits for. */
  #inBackground(task: Promise<void>): Promise<void> {
    const running = task.finally(() => this.#evicting.delete(running));
    this.#evicting.add(running);
    return running;
  }

  #isInUse(name: string): boolean {
    return this.#held.has(name) || this.#closing.has(name);
  }

  async #whileUnused(name: string, task: () => Promise<void>): Promise<boolean> {
    if (this.#isLeft || this.#isInUse(name)) return false;
    const running = task();
    const settled = Promise.allSettled([running]); // the caller gets the failure
    this.#closing.set(name, settled);
    try {
      await running;
      return true;
    } finally {
      if (this.#closing.get(name) === settled) this.#closing.delete(name);
    }
  }

  /** Evicts until the cache is within its limits. Never rejects. */
  trim(): Promise<void> {
    return this.#inBackground(this.#space.trim());
  }

  /** Removes unreferenced blobs and what exceeds the limits. @throws {NydusGdError} "io" */
  collect(options: CollectOptions): Promise<Collected> {
    return this.#space.collect(options);
  }

  /**
   * Removes the blobs of owners that no longer exist; blobs in use are removed on release.
   *
   * @param owners as {@link BlobNames.owners}
   * @throws {NydusGdError} "io"
   */
  discard(owners: readonly string[]): Promise<void> {
    return this.#space.discard(owners);
  }

  /** Leaves blobs in use to a successor: nothing is removed from now on, even when it is released here. */
  leave(): void {
    this.#isLeft = true;
  }

  /** Changes the tuning of prefetch and read-ahead, from the next request on. */
  tune(tuning: Partial<FetchTuning>): void {
    this.#parts.tuner.current = { ...this.#parts.tuner.current, ...tuning };
  }

  /**
   * Urgency for data that readers will need next: "read-ahead", unless prefetch is rate-limited or read-ahead has no
   * slots.
   */
  get aheadUrgency(): PrefetchUrgency {
    const { tuner, queue } = this.#parts;
    const isBounded = tuner.current.prefetchBytesPerSecond !== undefined;
    return isBounded || queue.options.readAheadLimit === 0 ? "prefetch" : "read-ahead";
  }

  /** Whether data that readers will need next may be fetched concurrently with on-demand reads. */
  get readsAhead(): boolean {
    const { tuner, queue } = this.#parts;
    return tuner.current.readAheadBytes > 0 && queue.options.readAheadLimit > 0;
  }

  /** Announces readers: prefetch waits for them. */
  expectReaders(): void {
    this.#parts.queue.noteDemand();
  }

  /** Resolves when no reader has waited for a source for `quietMs` milliseconds. */
  whenQuiet(quietMs: number, signal: AbortSignal): Promise<void> {
    return this.#parts.queue.whenQuiet(quietMs, signal);
  }

  /** Records everything that is ready on disk. */
  async flush(): Promise<void> {
    await Promise.all([...this.#held.values()].map(({ shared }) => shared.flush()));
  }

  /** See {@link CacheFolder.ownMount}. */
  get ownMount(): Fd | undefined {
    return this.#parts.folder.ownMount;
  }

  stats(): BlobCacheStats {
    const blobs = [...this.#held.values()].map(({ shared }) => shared.stats());
    return { dir: this.#parts.folder.path, blobs, ...sum([this.#past, ...blobs]) };
  }

  /** Closes every blob, including those still held, and unlocks the directory. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.leave();
    const holders = [...this.#held.values()].flatMap((held) => [...held.holders]);
    const ends = await Promise.allSettled(holders.map((blob) => this.release(blob)));
    await Promise.all([...this.#closing.values(), ...this.#evicting]);
    const { queue, decoder, memory, folder } = this.#parts;
    queue.close();
    decoder[Symbol.dispose]();
    memory[Symbol.dispose]();
    folder[Symbol.dispose]();
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function sum(parts: readonly Totals[]): Totals {
  const total = { bytesFetched: 0, requests: 0, failedRequests: 0, corruptChunks: 0 };
  for (const part of parts) {
    total.bytesFetched += part.bytesFetched;
    total.requests += part.requests;
    total.failedRequests += part.failedRequests;
    total.corruptChunks += part.corruptChunks;
  }
  return total;
}
