/**
 * Everything of one mounted image, fetched while nobody waits for it.
 *
 * The ranges are those of the regular files in the order of the tree. Reads of programs go first (lib/blob/prefetch.ts);
 * what fails is passed over. The tree is read as it goes: the image must stay open until {@link ImagePrefetch.stop} has
 * resolved.
 *
 * @module
 */
import { S } from "../../ffi/sys_stat.ts";
import { hasCode, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { prefetch, type PrefetchRange } from "../blob/prefetch.ts";
import type { Bootstrap } from "../rafs/bootstrap.ts";
import { walkTree } from "../rafs/walk.ts";

const log = logger("image", "prefetch");

/** Bytes of a file whose pieces are looked up at once. */
const WINDOW_BYTES = 64 * 1024 * 1024;

/** Chunks begin at multiples of it in the blob's address space: a smaller gap is padding. */
const CHUNK_ALIGNMENT = 4096;

/** How far a prefetch is. */
export interface PrefetchStatus {
  /** "incomplete": some of it could not be fetched. "failed": the image is damaged. */
  readonly state: "running" | "complete" | "incomplete" | "stopped" | "failed";
  /** Plain bytes of ranges that are ready; known at the end. */
  readonly readyBytes: number;
  /** Ranges that could not be fetched. */
  readonly failures: number;
}

/** What is prefetched. */
export interface PrefetchImage {
  readonly name: string;
  readonly tree: Bootstrap;
  readonly blobs: readonly PrefetchRange["store"][];
}

/** A prefetch that runs or has run. */
export class ImagePrefetch {
  #status: PrefetchStatus = { state: "running", readyBytes: 0, failures: 0 };
  readonly #abort = new AbortController();
  /** Resolves when it has ended, however it did. */
  readonly ended: Promise<void>;

  private constructor(image: PrefetchImage) {
    this.ended = this.#run(image);
  }

  /** Starts at once. */
  static start(image: PrefetchImage): ImagePrefetch {
    return new ImagePrefetch(image);
  }

  get status(): PrefetchStatus {
    return this.#status;
  }

  /** Breaks it off; resolves when the image is not used any more. */
  async stop(): Promise<void> {
    this.#abort.abort(new NydusGdError("interrupted", "Cannot prefetch: the image is being unmounted"));
    await this.ended;
  }

  async #run(image: PrefetchImage): Promise<void> {
    const startedAt = performance.now();
    try {
      const { readyBytes, failures } = await prefetch(rangesOf(image), { signal: this.#abort.signal });
      this.#status = { state: failures === 0 ? "complete" : "incomplete", readyBytes, failures };
      const durationMs = Math.round(performance.now() - startedAt);
      log.info("image prefetched", { image: image.name, readyBytes, failures, durationMs });
    } catch (error) {
      const state = hasCode(error, "interrupted") ? "stopped" : "failed";
      this.#status = { ...this.#status, state };
      log[state === "stopped" ? "debug" : "error"]("image not prefetched", {
        image: image.name,
        error: messageOf(error),
      });
    }
  }
}

/** Where the data of all regular files are, pieces that follow each other joined. */
export function* rangesOf({ tree, blobs }: PrefetchImage): Generator<PrefetchRange> {
  const seen = new Set<number>();
  let open: { readonly blobIndex: number; readonly offset: number; length: number } | undefined;
  const rangeOf = ({ blobIndex, offset, length }: NonNullable<typeof open>): PrefetchRange => {
    const store = blobs[blobIndex];
    if (store === undefined) {
      throw new NydusGdError("invalid-image", `Cannot prefetch blob ${blobIndex}: image has no such blob`);
    }
    return { store, offset, length };
  };
  for (const { ino, attr: { mode, nlink, size } } of walkTree(tree)) {
    if ((mode & S.IFMT) !== S.IFREG || seen.has(ino)) continue;
    if (nlink > 1) seen.add(ino);
    for (let at = 0; at < size; at += WINDOW_BYTES) {
      for (const { blobIndex, blobOffset, length } of tree.extents(ino, at, Math.min(WINDOW_BYTES, size - at))) {
        const gap = open?.blobIndex === blobIndex ? blobOffset - (open.offset + open.length) : -1;
        if (open !== undefined && gap >= 0 && gap < CHUNK_ALIGNMENT) {
          open.length += gap + length;
          continue;
        }
        if (open !== undefined) yield rangeOf(open);
        open = { blobIndex, offset: blobOffset, length };
      }
    }
  }
  if (open !== undefined) yield rangeOf(open);
}
