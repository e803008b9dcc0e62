/**
 * Opens the blobs of an image before they are read, which saves the first reader a request.
 *
 * @module
 */
import { Deadline } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { Limiter } from "../../base/limiter.ts";
import { logger } from "../../base/log.ts";
import type { ChunkStore, MountableImage, OpenBlob } from "../image_mount.ts";

const log = logger("mount");

/** Maximum blobs of one image opened concurrently. Readers have their own slots in the queue. */
const PARALLEL_OPENS = 4;

/**
 * Opens `stores` in order.
 *
 * @param signal aborts all opens
 * @returns a promise per blob. It need not be awaited: a failure is reported to the reader that needs the blob
 */
export function openBlobs(stores: readonly ChunkStore[], signal?: AbortSignal): Promise<OpenBlob>[] {
  const limiter = new Limiter(PARALLEL_OPENS);
  return stores.map((store) => {
    const opening = limiter.run("prefetch", () => store.open(signal));
    opening.catch((error) => log.debug("blob not opened", { blob: store.id, error: messageOf(error) }));
    return opening;
  });
}

/** Deadline for opening the blobs of an image. */
export function openingDeadline({ name }: MountableImage, deadlineMs: number): Deadline {
  const state = `its blobs returned no chunk tables within ${deadlineMs} ms`;
  return new Deadline(deadlineMs, undefined, () => new NydusGdError("unavailable", `Cannot mount ${name}: ${state}`));
}
