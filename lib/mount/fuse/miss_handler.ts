/**
 * The main thread's side of a READ whose data are not in the cache: has them fetched, then answers.
 *
 * Each miss is a task of its own, so a slow fetch holds up no other. What fails, or takes longer than its deadline, is EIO
 * for this READ only; the next one tries again. A failure is logged once for its image, blob and kind, and again only after that blob could be read.
 *
 * @module
 */
import { ERRNO } from "../../../ffi/errno.ts";
import { replyBytes, replyError } from "../../../ffi/libfuse3.ts";
import { Deadline } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { Extent, InodeAttr } from "../../rafs/bootstrap.ts";
import { DEVICE_BLOCK, HOLE } from "../../rafs/device_table.ts";
import type { ChunkStore, MountableImage, OpenBlob } from "../image_mount.ts";
import { agrees, coveredLength, isReady, readExtents } from "./cached_read.ts";
import type { Miss } from "./worker_messages.ts";

const log = logger("mount", "fuse");

/** Distinct causes that are logged for one image between two successes: a hostile image has many. */
const CAUSES_LOGGED = 16;

/** What the main thread keeps of one image. */
export interface KnownImage {
  readonly number: number;
  readonly image: MountableImage;
  /** Opened blobs, by extent. */
  readonly blobs: (OpenBlob | undefined)[];
}

/** A failure, and the blob that it is about. */
class ReadFailure extends Error {
  constructor(readonly blob: string, cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

/** Answers misses. */
export class MissHandler {
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #running = new Set<Promise<void>>();
  /** Causes that have been logged, by image number and blob. */
  readonly #logged = new Map<string, Set<string>>();
  readonly #onBlob: (image: KnownImage, index: number, blob: OpenBlob) => void;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;
  #abandoned = false;

  /**
   * @param maxRead bytes of the largest READ
   * @param timeoutMs how long one READ may wait for its data
   * @param onBlob called when a blob has been opened, so that Workers get it
   * @param signal ends what is under way: every request still gets its reply
   */
  constructor(
    maxRead: number,
    timeoutMs: number,
    onBlob: (image: KnownImage, index: number, blob: OpenBlob) => void,
    signal: AbortSignal,
  ) {
    this.#data = new Uint8Array(maxRead);
    this.#timeoutMs = timeoutMs;
    this.#onBlob = onBlob;
    this.#signal = signal;
  }

  /** Starts to answer `miss`; `done` is called after its reply. */
  handle(image: KnownImage | undefined, miss: Miss, done: () => void): void {
    const task = this.#answer(image, miss).then((replied) => {
      if (replied) done();
      this.#running.delete(task);
    });
    this.#running.add(task);
  }

  /** From now on what cannot be answered with data is not answered at all: a successor will. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** READs under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Resolves when every miss has its reply. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** True when a reply was sent. */
  async #answer(known: KnownImage | undefined, miss: Miss): Promise<boolean> {
    if (known === undefined) {
      replyError(miss.request, ERRNO.ESTALE);
      return true;
    }
    using deadline = new Deadline(this.#timeoutMs, this.#signal, () => this.#late());
    const { signal } = deadline;
    try {
      const extents = this.#extents(known, miss);
      const pieces = extents.filter(({ blobIndex }) => blobIndex !== HOLE);
      const indexes = [...new Set(pieces.map((extent) => extent.blobIndex))];
      await Promise.all(indexes.map((index) => this.#open(known, index, signal)));
      await Promise.all(rangesOf(pieces).map((range) => this.#ensure(known, range, signal)));
      for (const extent of pieces) this.#checkReady(known, extent);
      // from here to the reply nothing else runs: the buffer is shared by all misses
      readExtents(extents, known.blobs, this.#data);
      replyBytes(miss.request, this.#data, extents.reduce((sum, extent) => sum + extent.length, 0));
      for (const index of indexes) this.#logged.delete(logKey(known, known.image.blobs[index]?.id ?? ""));
    } catch (error) {
      if (this.#abandoned) return false;
      replyError(miss.request, ERRNO.EIO);
      this.#logOnce(known, miss, error);
    }
    return true;
  }

  #late(): NydusGdError {
    return new NydusGdError("unavailable", `Cannot read: no data within ${this.#timeoutMs} ms`, {
      hint: "look at the network and the blobs' home, or raise fetch.deadline",
    });
  }

  #extents({ image }: KnownImage, { ino, offset, size }: Miss): Extent[] {
    const extents = image.tree.extents(ino, offset, size);
    const attr: InodeAttr = { ino: 0, mode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, mtime: 0, mtimeNsec: 0 };
    image.tree.attr(ino, attr);
    const expected = Math.max(0, Math.min(size, attr.size - offset));
    const covered = coveredLength(extents, offset);
    if (covered !== expected || covered > this.#data.length) {
      throw new NydusGdError("invalid-image", `Cannot read inode ${ino} at ${offset}: ${covered} of ${expected} bytes`);
    }
    return extents;
  }

  async #open(known: KnownImage, index: number, signal: AbortSignal): Promise<void> {
    const store = storeOf(known, index);
    if (known.blobs[index] !== undefined) return;
    try {
      const blob = await store.open(signal);
      if (known.blobs[index] !== undefined) return; // another READ waited for it too
      known.blobs[index] = blob;
      this.#onBlob(known, index, blob);
    } catch (error) {
      throw new ReadFailure(store.id, error);
    }
  }

  async #ensure(known: KnownImage, range: Range, signal: AbortSignal): Promise<void> {
    const store = storeOf(known, range.blobIndex);
    for (const extent of range.extents) this.#checkPlace(known, extent);
    try {
      await store.ensure(range.offset, range.length, "on-demand", signal);
    } catch (error) {
      throw new ReadFailure(store.id, error);
    }
  }

  #checkPlace(known: KnownImage, extent: Extent): void {
    const blob = known.blobs[extent.blobIndex];
    if (blob !== undefined && agrees(extent, blob)) return;
    const what = `bootstrap and chunk table disagree on chunk ${extent.chunkIndex}`;
    const error = new NydusGdError("invalid-image", `Cannot read blob: ${what}`);
    throw new ReadFailure(storeOf(known, extent.blobIndex).id, error);
  }

  #checkReady(known: KnownImage, extent: Extent): void {
    const blob = known.blobs[extent.blobIndex];
    if (blob !== undefined && isReady(extent, blob)) return;
    const error = new NydusGdError("internal", `Cannot read chunk ${extent.chunkIndex}: fetched, but not ready`);
    throw new ReadFailure(storeOf(known, extent.blobIndex).id, error);
  }

  #logOnce(known: KnownImage, miss: Miss, error: unknown): void {
    if (this.#signal.aborted) return;
    const blob = error instanceof ReadFailure ? error.blob : "";
    const cause = messageOf(error);
    if (!this.#isNewCause(logKey(known, blob), kindOf(error))) return;
    log.error("read failed", { image: known.image.name, blob, cause, ino: miss.ino, offset: miss.offset });
  }

  /** Logs what a Worker could not read of an image, once for each cause. */
  logDamage(known: KnownImage, operation: string, ino: number, cause: string): void {
    if (!this.#isNewCause(logKey(known, ""), cause)) return;
    log.error("image is damaged", { image: known.image.name, operation, ino, cause });
  }

  /** Forgets what was logged of an image. */
  forget(known: KnownImage): void {
    for (const blob of ["", ...known.image.blobs.map((store) => store.id)]) this.#logged.delete(logKey(known, blob));
  }

  #isNewCause(key: string, cause: string): boolean {
    let causes = this.#logged.get(key);
    if (causes === undefined) this.#logged.set(key, causes = new Set());
    if (causes.has(cause) || causes.size >= CAUSES_LOGGED) return false;
    causes.add(cause);
    return true;
  }
}

/** A stretch of one blob's address space, and the pieces that lie in it. */
interface Range {
  readonly blobIndex: number;
  readonly offset: number;
  length: number;
  readonly extents: Extent[];
}

/** Joins pieces that follow each other in a blob, with less than a block of padding, so that they are asked for at once. */
function rangesOf(extents: readonly Extent[]): Range[] {
  const ranges: Range[] = [];
  for (const extent of extents) {
    const last = ranges.at(-1);
    const gap = last?.blobIndex === extent.blobIndex ? extent.blobOffset - last.offset - last.length : -1;
    if (last !== undefined && gap >= 0 && gap < DEVICE_BLOCK) {
      last.length += gap + extent.length;
      last.extents.push(extent);
    } else {
      ranges.push({
        blobIndex: extent.blobIndex,
        offset: extent.blobOffset,
        length: extent.length,
        extents: [extent],
      });
    }
  }
  return ranges;
}

function storeOf({ image }: KnownImage, index: number): ChunkStore {
  const store = image.blobs[index];
  if (store === undefined) throw new NydusGdError("invalid-image", `Cannot read blob ${index}: image has no such blob`);
  return store;
}

/** What makes a failure another one: its code, not the chunk or file that it struck. */
function kindOf(error: unknown): string {
  const cause = error instanceof ReadFailure ? error.cause : error;
  return cause instanceof NydusGdError ? cause.code : messageOf(cause);
}

function logKey(known: KnownImage, blob: string): string {
  return `${known.number}/${blob}`;
}
