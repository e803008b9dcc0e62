/**
 * Files of one mounted image, fetched while nobody waits for them: first what earlier containers waited for when they
 * started, then what the image lists for this, then all.
 *
 * What was learned from earlier starts (learned_reads.ts) will be wanted by this one: it is fetched beside what readers
 * wait for, where the cache has room for that, until this one turns out to want other things. The list is what the image's maker expects a container to read
 * when it starts: it is fetched in every pause of the readers.
 * All the rest, in the order of the tree, waits until the readers have been quiet for a while, and nothing of it is
 * fetched when the cache's disk is nearly full. What fails is passed over. The tree is read as it goes: the image must stay open until {@link ImagePrefetch.stop} has
 * resolved.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { SizeLimit } from "../../base/setting_values.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import { hasRoom } from "../../blob/cache/cache_usage.ts";
import { prefetch, type PrefetchRange, type PrefetchResult, type PrefetchUrgency } from "../../blob/prefetch.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { type TreeEntry, walkTree } from "../../rafs/walk.ts";
import type { ReadRecorder } from "./read_recorder.ts";

const log = logger("image", "prefetch");

/** Bytes of a file whose pieces are looked up at once. */
const WINDOW_BYTES = 64 * 1024 * 1024;

/** Milliseconds without a waiting reader before what is not listed is fetched. */
const QUIET_MS = 1000;

/** So many ranges of what was learned are asked for at once that those beside each other become one request. */
const LEARNED = { concurrency: 64, pieceBytes: 256 * 1024 } as const;

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
  /** What is known of earlier starts. */
  readonly recorder?: Pick<ReadRecorder, "learned" | "isFollowing"> | undefined;
}

/** What of an image is prefetched, and when it may be. */
export interface ImagePrefetchOptions {
  /** "listed": what the image lists; "all": then everything else. */
  readonly scope: "listed" | "all";
  /** Resolves when no reader has waited for so many milliseconds. */
  readonly whenQuiet: (quietMs: number, signal: AbortSignal) => Promise<void>;
  /** Whether the cache's disk can take more. */
  readonly hasRoom: () => boolean;
  /** How what was learned is asked for while readers follow it. */
  readonly learnedUrgency: PrefetchUrgency;
}

/** A prefetch that runs or has run. Disposing stops it. */
export class ImagePrefetch implements AsyncDisposable {
  #status: PrefetchStatus = { state: "running", readyBytes: 0, failures: 0 };
  readonly #abort = new AbortController();
  /** Resolves when it has ended, however it did. */
  readonly ended: Promise<void>;

  private constructor(image: PrefetchImage, options: ImagePrefetchOptions) {
    this.ended = this.#run(image, options);
  }

  /** Starts at once. */
  static start(image: PrefetchImage, options: ImagePrefetchOptions): ImagePrefetch {
    return new ImagePrefetch(image, options);
  }

  get status(): PrefetchStatus {
    return this.#status;
  }

  /** Breaks it off; resolves when the image is not used any more. */
  async stop(): Promise<void> {
    this.#abort.abort(new NydusGdError("interrupted", "Cannot prefetch: the image is being unmounted"));
    await this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(image: PrefetchImage, options: ImagePrefetchOptions): Promise<void> {
    const startedAt = performance.now();
    try {
      const { readyBytes, failures, complete } = await this.#fetch(image, options);
      this.#status = { state: complete && failures === 0 ? "complete" : "incomplete", readyBytes, failures };
      const durationMs = Math.round(performance.now() - startedAt);
      log.info("image prefetched", { image: image.name, complete, readyBytes, failures, durationMs });
    } catch (error) {
      const state = hasCode(error, "interrupted") ? "stopped" : "failed";
      this.#status = { ...this.#status, state };
      log[state === "stopped" ? "debug" : "error"]("image not prefetched", {
        image: image.name,
        error: messageOf(error),
      });
    }
  }

  async #fetch(image: PrefetchImage, options: ImagePrefetchOptions): Promise<PrefetchResult> {
    const { scope, whenQuiet, hasRoom, learnedUrgency } = options;
    const { signal } = this.#abort;
    const { prefetch: listed, rootIno } = image.tree;
    let isFull = false;
    const mayGoOn = () => {
      if (isFull || hasRoom()) return !isFull;
      isFull = true;
      log.warn("prefetch ends: the cache's disk is nearly full", { image: image.name });
      return false;
    };
    const learned = await learnedRanges(image); // who starts it gets it before anything is read
    throwIfAborted(signal);
    const urgency = () => image.recorder?.isFollowing ? learnedUrgency : "prefetch";
    await prefetch(learned, { signal, turn: mayGoOn, urgency, ...LEARNED });
    const first = await prefetch(rangesOf(image, listed), { signal, turn: mayGoOn });
    if (scope === "listed" || !first.complete) return first;
    return await prefetch(rangesOf(image, [rootIno]), {
      signal,
      turn: async () => {
        await whenQuiet(QUIET_MS, signal);
        return mayGoOn();
      },
    });
  }
}

/** Ranges of earlier starts, those that the image does not have left out; none where they cannot be had. */
async function learnedRanges({ name, recorder, blobs }: PrefetchImage): Promise<PrefetchRange[]> {
  try {
    const reads = await recorder?.learned() ?? [];
    return reads.flatMap(({ blobIndex, offset, length }) => {
      const store = blobs[blobIndex];
      return store === undefined ? [] : [{ store, offset, length }];
    });
  } catch (error) {
    log.warn("what was learned of the image cannot be read", { image: name, error: messageOf(error) });
    return [];
  }
}

/** Starts the prefetch of an image that was just mounted, or is to be complete now, from `cache`. */
export function startPrefetch(
  image: PrefetchImage,
  cache: BlobCache,
  scope: ImagePrefetchOptions["scope"],
  minFree: SizeLimit,
): ImagePrefetch {
  const { dir } = cache.stats();
  return ImagePrefetch.start(image, {
    scope,
    whenQuiet: (quietMs, signal) => cache.whenQuiet(quietMs, signal),
    hasRoom: () => hasRoom(dir, minFree),
    learnedUrgency: cache.aheadUrgency,
  });
}

/**
 * Where the data of regular files are, pieces that follow each other joined.
 *
 * @param roots inodes; a directory stands for the files below it
 * @throws {RafsError} for damage on the way
 */
export function* rangesOf({ tree, blobs }: PrefetchImage, roots: readonly number[]): Generator<PrefetchRange> {
  const seen = new Set<number>();
  const budget = new TreeBudget(tree.byteLength);
  let open: { readonly blobIndex: number; readonly offset: number; length: number } | undefined;
  const rangeOf = ({ blobIndex, offset, length }: NonNullable<typeof open>): PrefetchRange => {
    const store = blobs[blobIndex];
    if (store === undefined) {
      throw new NydusGdError("invalid-image", `Cannot prefetch blob ${blobIndex}: image has no such blob`);
    }
    return { store, offset, length };
  };
  for (const { ino, attr: { mode, size } } of filesBelow(tree, roots)) {
    if ((mode & S.IFMT) !== S.IFREG || seen.has(ino)) continue;
    seen.add(ino);
    for (let at = 0; at < size; at += WINDOW_BYTES) {
      for (const { blobIndex, blobOffset, length } of tree.extents(ino, at, Math.min(WINDOW_BYTES, size - at))) {
        budget.takeChunk(ino);
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

function* filesBelow(tree: Bootstrap, roots: readonly number[]): Generator<TreeEntry> {
  for (const root of new Set(roots)) yield* walkTree(tree, root);
}
