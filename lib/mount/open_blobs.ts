/**
 * Opening the blobs of an image before somebody reads them: who comes first would wait for one request more.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { Limiter } from "../base/limiter.ts";
import { logger } from "../base/log.ts";
import type { ChunkStore, OpenBlob } from "./image_mount.ts";

const log = logger("mount");

/** Blobs of one image that are opened at a time: readers have places of their own in the queue. */
const PARALLEL_OPENS = 4;

/**
 * Opens `stores`, in their order.
 *
 * @param signal ends the wait for all of them
 * @returns what comes of each. Nobody has to wait for it: a failure is told to who needs the blob
 */
export function openBlobs(stores: readonly ChunkStore[], signal?: AbortSignal): Promise<OpenBlob>[] {
  const limiter = new Limiter(PARALLEL_OPENS);
  return stores.map((store) => {
    const opening = limiter.run("prefetch", () => store.open(signal));
    opening.catch((error) => log.debug("blob not opened", { blob: store.id, error: messageOf(error) }));
    return opening;
  });
}
