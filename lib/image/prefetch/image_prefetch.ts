/**
 * Background prefetch of one mounted image: first what earlier containers waited for at start, then what the image
 * lists, then everything else. Of an image that no container uses yet, only the beginning of that is fetched.
 *
 * What was learned from earlier starts (learned_reads.ts) is fetched concurrently with on-demand reads while the cache
 * has capacity for that, until this start turns out to differ. Before the first start, files that the image lists take
 * its place. The image's own list names what its author expects a starting container to read; it is fetched in any pause
 * of the readers. The rest follows in tree order once readers have been quiet for a while, with breaks where processors
 * are scarce. Prefetch ends when the cache's disk is nearly full. Failures are skipped. The tree is read along the way,
 * so the image must stay open until {@link ImagePrefetch.stop} has resolved.
 *
 * @module
 */
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { Crowding } from "../../base/crowding.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { SizeLimit } from "../../base/setting_values.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import { hasRoom } from "../../blob/cache/cache_usage.ts";
import { prefetch, type PrefetchResult, type PrefetchUrgency } from "../../blob/prefetch.ts";
import { beginningOf, learnedRanges, type PrefetchImage, rangesOf } from "./prefetch_ranges.ts";
import { SpareCapacity } from "./spare_capacity.ts";

const log = logger("image", "prefetch");

/** Milliseconds without a waiting reader before unlisted data is fetched. */
const QUIET_MS = 1000;

/** Bytes of the image's list that are fetched before the image is used, since a list may name everything. */
const UNUSED_BYTES = 64 * 1024 * 1024;

/** Enough concurrent ranges for adjacent ones to be merged into one request. */
const LEARNED = { concurrency: 64, pieceBytes: 256 * 1024 } as const;

/** Progress of a prefetch. */
export interface PrefetchStatus {
  /** "waiting": for the image to be used. "incomplete": some data could not be fetched. "failed": the image is damaged. */
  readonly state: "running" | "waiting" | "complete" | "incomplete" | "stopped" | "failed";
  /** Uncompressed bytes of ranges that are ready; set when the prefetch ends. */
  readonly readyBytes: number;
  /** Number of ranges that could not be fetched. */
  readonly failures: number;
}

/** Scope and scheduling of a prefetch. */
export interface ImagePrefetchOptions {
  /** "listed": only what the image lists; "all": everything else afterwards. */
  readonly scope: "listed" | "all";
  /** Resolves once no reader has waited for `quietMs` milliseconds, and the processors are not needed elsewhere. */
  readonly whenQuiet: (quietMs: number, signal: AbortSignal) => Promise<void>;
  /** Whether the cache's disk has enough free space. */
  readonly hasRoom: () => boolean;
  /** Urgency of learned ranges while the readers follow them. */
  readonly learnedUrgency: PrefetchUrgency;
  /** Resolves when a container uses the image. Default: it is in use. */
  readonly used?: Promise<void>;
}

/** A running or finished prefetch. Disposing stops it. */
export class ImagePrefetch implements AsyncDisposable {
  #status: PrefetchStatus = { state: "running", readyBytes: 0, failures: 0 };
  readonly #abort = new AbortController();
  /** Resolves when the prefetch has ended for whatever reason. */
  readonly ended: Promise<void>;

  private constructor(image: PrefetchImage, options: ImagePrefetchOptions) {
    this.ended = this.#run(image, options);
  }

  /** Starts a prefetch. */
  static start(image: PrefetchImage, options: ImagePrefetchOptions): ImagePrefetch {
    return new ImagePrefetch(image, options);
  }

  get status(): PrefetchStatus {
    return this.#status;
  }

  get isEnded(): boolean {
    return this.#status.state !== "running" && this.#status.state !== "waiting";
  }

  /** Stops the prefetch; resolves when it no longer uses the image. */
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
    const { scope, whenQuiet, hasRoom, learnedUrgency, used } = options;
    const { signal } = this.#abort;
    const { prefetch: listed, rootIno } = image.tree;
    let isFull = false;
    const mayGoOn = () => {
      if (isFull || hasRoom()) return !isFull;
      isFull = true;
      log.warn("prefetch stopped: the cache's disk is nearly full", { image: image.name });
      return false;
    };
    const learned = await learnedRanges(image); // called synchronously, before the first reader starts
    throwIfAborted(signal);
    const urgency = () => image.recorder?.isFollowing ? learnedUrgency : "prefetch";
    await prefetch(learned, { signal, turn: mayGoOn, urgency, ...LEARNED });
    if (used !== undefined) {
      await prefetch(beginningOf(rangesOf(image, listed), UNUSED_BYTES), { signal, turn: mayGoOn });
      this.#status = { ...this.#status, state: "waiting" };
      await unlessAborted(used, signal);
      this.#status = { ...this.#status, state: "running" };
    }
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

/** Starts prefetching an image into `cache`, after its mount or on request. */
export function startPrefetch(
  image: PrefetchImage,
  cache: BlobCache,
  minFree: SizeLimit,
  options: Pick<ImagePrefetchOptions, "scope" | "used">,
): ImagePrefetch {
  const { dir } = cache.stats();
  const whenQuiet = (quietMs: number, signal: AbortSignal) => cache.whenQuiet(quietMs, signal);
  const spare = new SpareCapacity({ whenQuiet, crowding: new Crowding() });
  const run = ImagePrefetch.start(image, {
    ...options,
    whenQuiet: (quietMs, signal) => spare.wait(quietMs, signal),
    hasRoom: () => hasRoom(dir, minFree),
    learnedUrgency: cache.aheadUrgency,
  });
  run.ended.finally(() => spare[Symbol.dispose]());
  return run;
}
