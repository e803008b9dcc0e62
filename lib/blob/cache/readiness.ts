/**
 * Which chunks of a blob are verified and in the cache file: in memory immediately, on disk a little later.
 *
 * ```
 * data written, digest right ──► bit in `ready` ──(a second, or some MiB)──► fdatasync of the data
 *                                                                           ──► digest in .verified, bit in chunk_map
 * ```
 * A crash in between costs a refetch, never wrong bytes: at the next start a chunk is ready only if its bit is set, its
 * verified digest is the one that the image expects now, and the data file has not been written to since. A set bit
 * without that evidence (set by nydusd, for another image, or before the file was altered) is a *claim*: the chunk is
 * read back and verified before it counts.
 *
 * A cache that keeps nothing has no flush options, and nothing is recorded. Its data is synced only where nothing else
 * tells whether the disk has lost it.
 *
 * If the data cannot be written to the disk, the kernel may have dropped it: all chunks not yet recorded lose their
 * readiness, whether a sync or a reader finds out (lost_writes.ts), and their places become holes (lost_content.ts). If
 * another program truncated the data file, every chunk must be read back and verified again. A sealed file, which the
 * kernel reads without asking us, is not extended again: readers get an error for the missing part, where an extended
 * file would give zeros.
 *
 * @module
 */
import { ftruncate } from "../../../ffi/unistd.ts";
import { describeWriteError } from "../../base/disk_full.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { isDigestKnown } from "../../rafs/blob/chunk_digests.ts";
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { bitmapSize, clearBit, countBits, hasBit, setBit } from "./bits.ts";
import type { BlobFiles } from "./blob_files.ts";
import { clearHollow, emptyLost, rangesWithout } from "./lost_content.ts";
import {
  betweenEpochs,
  epochOf,
  isLost,
  lossesIn,
  mustSync,
  newSyncState,
  noteLoss,
  type SyncState,
} from "./lost_writes.ts";

const log = logger("blob");

/** When to record chunks on disk. */
export interface FlushOptions {
  /** Milliseconds after the first unrecorded chunk. */
  readonly flushAfterMs: number;
  /** Plain bytes of unrecorded chunks. */
  readonly flushAfterBytes: number;
  /** Milliseconds between looks for holes that others make in the file. */
  readonly lookForHolesMs: number;
}

/** Readiness of one blob's chunks. */
export class Readiness {
  /** See `OpenBlob.ready`. */
  readonly ready: Uint8Array<SharedArrayBuffer>;
  /** Which of them are recorded on disk. */
  readonly synced: SyncState;
  readonly #listeners = new Set<() => void>();
  #sealed = false;
  /** Ready chunks not yet recorded on disk. */
  #unrecorded: number[] = [];
  #unrecordedBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flushing: Promise<unknown> = Promise.resolve();
  #flushQueued = false;
  #mending: Promise<void> | undefined;
  #syncFailed = false;
  #disclaimed = 0;
  /** Time of the file's last change when its holes were looked for. */
  #lookedNs = 0n;

  constructor(
    private readonly id: string,
    private readonly files: BlobFiles,
    private readonly columns: ChunkColumns,
    private readonly options: FlushOptions | undefined,
  ) {
    const { map, verifiedBits } = files;
    this.ready = new Uint8Array(new SharedArrayBuffer(bitmapSize(columns.count)));
    for (let i = 0; i < this.ready.length; i++) this.ready[i] = (map.bits[i] as number) & (verifiedBits[i] as number);
    this.synced = newSyncState(columns.count, lossesIn(files.folder.path));
    this.synced.recorded.set(this.ready);
  }

  isReady(row: number): boolean {
    return hasBit(this.ready, row);
  }

  /** Whether the cache file may hold the chunk, so that reading it back is cheaper than a fetch. */
  isClaimed(row: number): boolean {
    return hasBit(this.files.map.bits, row) && !hasBit(this.ready, row);
  }

  /** Whether the image has a digest for the chunk. Without one it is never readable. */
  isKnown(row: number): boolean {
    return isDigestKnown(this.columns, row);
  }

  /** To be taken before chunks are written or read back, for {@link add}. */
  get epoch(): number {
    return epochOf(this.synced);
  }

  /**
   * To be awaited before chunks are asked for or recorded. If the disk has lost chunks, they are not ready any more. If
   * the file was truncated, a write beyond its new end would turn the missing part into zeros; so its size is restored,
   * and chunks that were ready are verified again.
   *
   * @throws {NydusGdError} "io"
   */
  mend(): Promise<void> {
    if (this.#mending !== undefined) return this.#mending;
    try {
      if (!isLost(this.synced) && !this.#isCut()) return Promise.resolve();
    } catch (error) {
      return Promise.reject(this.#failure(error));
    }
    return this.#mending = this.#mendNow().finally(() => this.#mending = undefined);
  }

  async #mendNow(): Promise<void> {
    try {
      if (this.#isCut()) await this.#mendCut();
      if (isLost(this.synced)) await this.#loseUnrecorded();
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #isCut(): boolean {
    return this.files.data.sizeBytes < this.files.dataSize;
  }

  async #mendCut(): Promise<void> {
    const { data, dataSize, verified } = this.files;
    const { sizeBytes } = data;
    if (this.#sealed) throw this.#cutWhileRead();
    log.warn("cache file was truncated, verifying its content again", { path: data.path, sizeBytes, dataSize });
    const wasLost = isLost(this.synced);
    await betweenEpochs(this.synced, () => {
      for (let i = 0; i < this.ready.length; i++) Atomics.store(this.ready, i, 0);
      for (let i = 0; i < this.ready.length; i++) Atomics.store(this.synced.recorded, i, 0);
      this.#takeUnrecorded();
      verified.forget();
      ftruncate(data.fd, dataSize);
      return Promise.resolve();
    });
    if (wasLost) noteLoss(this.synced);
  }

  #cutWhileRead(): Error {
    return new Error(`it was truncated to ${this.files.data.sizeBytes} bytes while the kernel reads it`);
  }

  /** Calls `listener` after chunks were recorded on disk, until `signal` aborts. */
  onRecorded(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener), { once: true });
  }

  /**
   * Seals the data file if all of `rows` are ready and recorded on disk: from then on they can be read without this
   * process.
   *
   * @returns whether they are
   */
  seal(rows: Iterable<number>): boolean {
    const { recorded } = this.synced;
    for (const row of rows) if (!hasBit(recorded, row) || !hasBit(this.ready, row)) return false;
    if (this.#isCut()) {
      if (this.#sealed) throw this.#failure(this.#cutWhileRead());
      return false; // what is left of it has to be verified
    }
    this.#sealed = true;
    return true;
  }

  get #syncs(): boolean {
    return this.options !== undefined || mustSync(this.synced);
  }

  /** Number of ready chunks. */
  count(): number {
    return countBits(this.ready);
  }

  /** How many chunks were read back and not in the cache file. */
  get disclaimed(): number {
    return this.#disclaimed;
  }

  /** The chunk was read back and is not in the cache file. */
  disclaim(row: number): void {
    this.#disclaimed++;
    this.files.map.disclaim([row]);
  }

  /**
   * Adds chunks whose bit in {@link ready} was set; they are recorded on disk later. If chunks were lost meanwhile, these
   * may be among them, and are not ready.
   *
   * @param epoch the {@link epoch} before they were written or read back
   */
  add(rows: Iterable<number>, epoch: number): void {
    if (epoch !== this.epoch) {
      for (const row of rows) clearBit(this.ready, row);
      return;
    }
    if (!this.#syncs) return;
    for (const row of rows) {
      this.#unrecorded.push(row);
      this.#unrecordedBytes += this.columns.uncompressedSize[row] as number;
    }
    if (this.#unrecorded.length === 0) return;
    if (this.#flushQueued || this.options === undefined) return;
    if (this.#unrecordedBytes >= this.options.flushAfterBytes) this.#flushSoon();
    else this.#timer ??= setTimeout(() => this.#flushSoon(), this.options.flushAfterMs);
  }

  /**
   * Records every ready chunk on disk, or only syncs it. Afterwards nothing accesses the files unless it is asked for.
   *
   * @throws {NydusGdError} "io" if the disk fails; the affected chunks are no longer ready
   */
  flush(): Promise<void> {
    if (!this.#syncs) return this.#mending ?? Promise.resolve();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushQueued = true;
    const done = this.#flushing.then(() => this.#record());
    this.#flushing = Promise.allSettled([done]); // the caller gets the failure; the next flush starts regardless
    return done;
  }

  /**
   * To be awaited before chunks are read. Records them where nothing else tells whether the disk has lost them.
   *
   * @throws {NydusGdError} "io" as {@link flush}
   */
  async makeReadable(): Promise<void> {
    if (mustSync(this.synced)) await this.flush();
  }

  #flushSoon(): void {
    this.flush().catch((error) => {
      if (!this.#syncFailed) log.error("cache not recorded", { blob: this.id, error: messageOf(error) });
      this.#syncFailed = true;
    });
  }

  async #record(): Promise<void> {
    this.#flushQueued = false;
    await this.mend();
    const { epoch } = this;
    const rows = this.#takeUnrecorded();
    const { data, verified, map } = this.files;
    if (rows.length === 0) {
      if (this.options !== undefined && verified.seal(data.changedNs())) await verified.sync(); // covers writes of chunks that did not become ready
      return;
    }
    try {
      await data.syncData();
    } catch (error) {
      noteLoss(this.synced);
      await this.mend();
      throw this.#failure(error);
    }
    await this.mend();
    if (epoch !== this.epoch) return; // lost or truncated: they are fetched again
    for (const row of rows) setBit(this.synced.recorded, row);
    if (this.options === undefined) return;
    try {
      verified.record(rows, this.columns);
      verified.seal(data.changedNs());
      map.claim(rows);
      await Promise.all([verified.sync(), map.sync(), this.files.syncNames()]);
      this.#syncFailed = false;
    } catch (error) {
      this.#unrecorded = rows.concat(this.#unrecorded); // for the next flush
      throw this.#failure(error);
    }
    for (const listener of this.#listeners) listener();
  }

  /**
   * All chunks that are not recorded lose their readiness, also those that are being written or added: the error of the
   * disk may concern any of them. Nothing of them remains in the file, since reading back would show the page cache, not
   * the disk. Claims of others are left alone, as the kernel may still read these chunks for an image that is not known
   * here.
   */
  async #loseUnrecorded(): Promise<void> {
    const { data, dataSize, map } = this.files;
    const { recorded } = this.synced;
    await betweenEpochs(this.synced, async () => {
      this.#takeUnrecorded();
      const lost: number[] = [];
      for (let row = 0; row < this.columns.count; row++) {
        if (hasBit(this.ready, row) && !hasBit(recorded, row)) lost.push(row);
      }
      for (const row of lost) clearBit(this.ready, row);
      log.warn("the disk has lost chunks, they are fetched again", { blob: this.id, chunks: lost.length });
      if (map.disclaim(lost)) await map.sync(); // before anything can vouch for what the file is then
      const kept = map.bits.map((byte, i) => byte | (recorded[i] as number));
      await emptyLost(data.fd, rangesWithout(kept, this.columns, dataSize));
    });
  }

  /**
   * Chunks in which there are holes since the last call; they are not ready any more, and claimed if they are on disk.
   * Looks at the chunks only if the file has changed.
   *
   * @throws {SyscallError}
   */
  async takeHollow(): Promise<number[]> {
    const found = this.#flushing.then(() => this.#takeHollow()); // no chunk is on its way to the disk then
    this.#flushing = Promise.allSettled([found]);
    return await found;
  }

  #takeHollow(): number[] {
    const { data } = this.files;
    const changedNs = data.changedNs();
    if (changedNs === this.#lookedNs) return [];
    const whole = Uint8Array.from(this.ready), before = whole.slice();
    const count = clearHollow(data.fd, whole, this.columns);
    this.#lookedNs = changedNs;
    if (count === 0) return [];
    const isHollow = (row: number) => hasBit(before, row) && !hasBit(whole, row);
    const rows = Array.from({ length: this.columns.count }, (_, row) => row).filter(isHollow);
    for (const row of rows) for (const bits of [this.ready, this.synced.recorded]) clearBit(bits, row);
    const unrecorded = this.#takeUnrecorded().filter((row) => !isHollow(row));
    this.add(unrecorded, this.epoch);
    return rows;
  }

  #takeUnrecorded(): number[] {
    const rows = this.#unrecorded.sort((a, b) => a - b);
    this.#unrecorded = [];
    this.#unrecordedBytes = 0;
    return rows;
  }

  #failure(error: unknown): NydusGdError {
    return new NydusGdError(
      "io",
      `Cannot record chunks of blob ${this.id} in the cache: ${describeWriteError(error)}`,
      {
        hint: this.files.folder.diskHint,
        cause: error,
      },
    );
  }
}
