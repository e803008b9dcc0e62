/**
 * Notices holes that other programs make in the cache file of an open blob: readers would get zeros.
 *
 * A slow timer asks for the time of the file's last change; only after a change are the chunks looked at. So readers pay
 * nothing, and see zeros for no longer than the interval. The chunks are fetched again without being asked for: a
 * complete file is read by the kernel alone.
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
  readonly readiness: Pick<Readiness, "takeHollow">;
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
    const { id, readiness, fetcher, places } = this.watched;
    try {
      const rows = await readiness.takeHollow();
      if (rows.length === 0) return;
      log.error("another program has made holes in a cache file, programs may have read zeros", {
        blob: id,
        chunks: rows.length,
      });
      const offsetOf = (row: number) => places.uncompressedOffset[row] as number;
      const sizeOf = (row: number) => places.uncompressedSize[row] as number;
      await Promise.all(rows.map((row) => fetcher.ensure(offsetOf(row), sizeOf(row), "read-ahead")));
    } catch (error) {
      log.debug("holes in a cache file are not filled before they are read", { blob: id, error: messageOf(error) });
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
