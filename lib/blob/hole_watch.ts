/**
 * Notices holes that other programs make in the cache file of an open blob: readers would get zeros.
 *
 * A slow timer asks for the time of the file's last change; only after a change are the chunks looked at. So readers pay
 * nothing, and see zeros for no longer than the interval. The chunks are read back, and fetched again if they are
 * damaged, without being asked for: a complete file is read by the kernel alone. Holes where a chunk has zeros are none:
 * some file systems (ZFS) make them of what was written, and so do programs that free space.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Readiness } from "./cache/readiness.ts";
import type { ChunkFetcher } from "./fetch/chunk_fetcher.ts";

const log = logger("blob");

/** What is watched, and how holes are filled. */
export interface WatchedFile {
  readonly id: string;
  readonly readiness: Pick<Readiness, "takeHollow" | "isClaimed" | "disclaimed">;
  readonly fetcher: Pick<ChunkFetcher, "ensure">;
  /** Where a chunk is in the file, and its size, by row. */
  readonly places: { readonly uncompressedOffset: ArrayLike<number>; readonly uncompressedSize: ArrayLike<number> };
}

/** Watches one file until it is disposed of. */
export class HoleWatch implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;

  /** @param everyMs interval of looks, milliseconds */
  constructor(private readonly watched: WatchedFile, everyMs: number) {
    this.#timer = setInterval(() => this.#look(), everyMs);
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { id, readiness } = this.watched;
    try {
      const rows = await readiness.takeHollow();
      const unverifiable = rows.filter((row) => !readiness.isClaimed(row)).length, before = readiness.disclaimed;
      const filled = await Promise.allSettled(rows.map((row) => this.#fill(row)));
      const chunks = unverifiable + readiness.disclaimed - before;
      if (chunks > 0) {
        log.error("another program has made holes in a cache file, programs may have read zeros", { blob: id, chunks });
      }
      const failure = filled.find((each) => each.status === "rejected");
      if (failure !== undefined) throw failure.reason;
    } catch (error) {
      log.debug("holes in a cache file are not filled before they are read", { blob: id, error: messageOf(error) });
    }
  }

  /** Reads a chunk back, and fetches it again unless its bytes are right. */
  async #fill(row: number): Promise<void> {
    const { fetcher, places: { uncompressedOffset, uncompressedSize } } = this.watched;
    await fetcher.ensure(uncompressedOffset[row] as number, uncompressedSize[row] as number, "read-ahead");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
