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
 * Each of these imports only those below it. The cache brings images and blobs together; its state is in parts of its
 * own:
 *
 * | part            | what it knows                                                   |
 * | --------------- | --------------------------------------------------------------- |
 * | `SeparateNames` | which descriptions of a blob have files of their own            |
 * | `HeldBlobs`     | which blobs are open, and for whom; which are being closed      |
 * | `CacheSpace`    | how full the cache is, and which blobs may be removed           |
 * | `CacheParts`    | what all blobs share: folder, link, queue, decoder, memory      |
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { RunningTasks } from "../base/running_tasks.ts";
import { Blob } from "./blob.ts";
import type { CacheParts } from "./blob_context.ts";
import type { BlobSpec } from "./blob_spec.ts";
import { BlobNames, type DescriptionConflict } from "./cache/blob_names.ts";
import { CacheSpace, type Collected, type CollectOptions } from "./cache/cache_space.ts";
import { SeparateNames } from "./cache/separate_names.ts";
import { type BlobCacheOptions, CACHE_DEFAULTS, openParts } from "./cache_options.ts";
import { CachedBlob } from "./cached_blob.ts";
import type { FetchTuning } from "./fetch/fetch_tuning.ts";
import { HeldBlobs, type HeldBlobsStats } from "./held_blobs.ts";
import type { PrefetchUrgency } from "./prefetch.ts";

export type { BlobCacheOptions } from "./cache_options.ts";

const log = logger("blob");

/** Statistics of the cache. */
export interface BlobCacheStats extends HeldBlobsStats {
  readonly dir: string;
}

/** Blobs by the name of their files, each open as long as an image holds it. */
export class BlobCache implements AsyncDisposable {
  readonly #parts: CacheParts;
  readonly #names: SeparateNames;
  readonly #held = new HeldBlobs((name) => this.#background.add(this.#space.released(name)));
  readonly #space: CacheSpace;
  /** Evictions, and closings that nobody else waits for. */
  readonly #background = new RunningTasks();
  #closed = false;
  /**
   * Called when the cache exceeds its limits and all blobs are held: holders that keep blobs speculatively release
   * them.
   */
  onFull: (() => void) | undefined;

  private constructor(dir: string, options: BlobCacheOptions) {
    const parts = openParts(dir, options);
    const { folder } = parts;
    const limits = folder.keeps ? options.limits : undefined;
    this.#names = new SeparateNames(folder.blobNames());
    this.#space = new CacheSpace(folder, limits, this.#held, (id) => this.#names.namesOf(id), () => this.onFull?.());
    this.#parts = {
      ...parts,
      room: (bytes, write) => this.#space.room(bytes, write),
      isExhausted: () => this.#space.isExhausted,
    };
  }

  /**
   * Opens the directory, creates it if necessary, and locks it.
   *
   * @throws {NydusGdError} "busy" when another server owns it, "io"
   */
  static open(dir: string, options: Partial<BlobCacheOptions> = {}): BlobCache {
    return new BlobCache(dir, { ...CACHE_DEFAULTS, ...options });
  }

  /**
   * Returns the blob for one image. Nothing is opened or fetched before it is used. Release it with {@link release}.
   *
   * @throws {NydusGdError} "invalid-image" for an id that is not a valid file name
   */
  acquire(spec: BlobSpec): Blob {
    const names = new BlobNames(spec);
    if (this.#closed) throw new NydusGdError("interrupted", `Cannot open blob ${names.id}: the cache is closed`);
    this.keep(names.owners);
    const shared = this.#open(this.#names.choose(names), names);
    const blob = new Blob(shared, names, spec, (moved, conflict) => this.#move(moved, conflict));
    this.#held.add(shared, blob);
    return blob;
  }

  #open(name: string, names: BlobNames): CachedBlob {
    this.#names.add(name);
    return this.#held.open(name, (before) => new CachedBlob(name, names, this.#parts, before));
  }

  /** Moves an image that contradicts the files it holds to files of another name. */
  #move(blob: Blob, conflict: DescriptionConflict): CachedBlob | undefined {
    const { names, shared } = blob;
    const name = names.after(shared.name, conflict);
    if (name === undefined) return undefined;
    log.info("images describe the blob differently, using a separate cache", { blob: blob.id, name });
    const other = this.#open(name, names);
    this.#held.add(other, blob);
    const logFailure = (error: unknown) => log.error("blob not closed", { blob: blob.id, error: messageOf(error) });
    this.#background.add(this.#held.drop(shared, blob).catch(logFailure));
    return other;
  }

  /**
   * Releases a blob. Its files are closed with its last holder. Idempotent.
   *
   * @throws {NydusGdError} "io" when its last chunks cannot be recorded; it is closed nevertheless
   */
  async release(blob: Blob): Promise<void> {
    if (blob.detach()) await this.#held.drop(blob.shared, blob);
  }

  /** Evicts until the cache is within its limits. Never rejects. */
  trim(): Promise<void> {
    return this.#background.add(this.#space.trim());
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

  /** Owners that an earlier server has discarded without removing all of their blobs. Each may be wanted again. */
  get discardedBefore(): readonly string[] {
    return this.#space.discardedBefore;
  }

  /** The blobs of these owners are wanted, although they may have been discarded. */
  keep(owners: readonly string[]): void {
    this.#background.add(this.#space.keep(owners));
  }

  /** Leaves blobs in use to a successor: nothing is removed from now on, even when it is released here. */
  leave(): void {
    this.#held.leave();
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
    await this.#held.flush();
  }

  /** See {@link CacheFolder.ownMount}. */
  get ownMount(): Fd | undefined {
    return this.#parts.folder.ownMount;
  }

  stats(): BlobCacheStats {
    return { dir: this.#parts.folder.path, ...this.#held.stats() };
  }

  /** Closes every blob, including those still held, and unlocks the directory. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.leave();
    const ends = await Promise.allSettled(this.#held.holders().map((blob) => this.release(blob)));
    await Promise.all([this.#held.closed(), this.#background.settled()]);
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
