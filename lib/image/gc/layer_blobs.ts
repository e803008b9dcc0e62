/**
 * Determines which blobs bootstrap layers use, and removes those of removed layers from the cache.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import { MappedBootstrap } from "../open_image.ts";

const log = logger("image", "gc");

/**
 * Returns the owners of the cached blobs that any of `layers` uses.
 *
 * @throws {NydusGdError} for a bootstrap that cannot be read
 */
export function ownersOf(layers: readonly LazyLayer[]): Set<string> {
  const all = new Set<string>();
  for (const { bootstrapPath } of layers) {
    using bootstrap = MappedBootstrap.open(bootstrapPath);
    for (const { owners } of bootstrap.blobNames()) for (const owner of owners) all.add(owner);
  }
  return all;
}

/**
 * Removes the blobs that only this layer's image uses from the cache, deferred for blobs that are still being read.
 *
 * @param layers lists all layers, among them this one
 */
export async function discardBlobs(
  layer: LazyLayer,
  layers: () => Promise<readonly LazyLayer[]>,
  cache: BlobCache,
): Promise<void> {
  try {
    const others = (await layers()).filter(({ id }) => id !== layer.id);
    await cache.discard([...ownersOf([layer]).difference(ownersOf(others))]);
  } catch (error) {
    log.warn("blobs of a removed image stay in the cache", { layer: layer.id, reason: messageOf(error) });
  }
}

/**
 * Removes what an earlier server could not: blobs of images that were removed while somebody read them.
 *
 * @param layers lists all layers that there are
 */
export async function discardBlobsOfBefore(
  layers: () => Promise<readonly LazyLayer[]>,
  cache: BlobCache,
): Promise<void> {
  const owners = new Set(cache.discardedBefore);
  if (owners.size === 0) return;
  try {
    const needed = ownersOf(await layers());
    cache.keep([...owners.intersection(needed)]);
    await cache.discard([...owners.difference(needed)]);
  } catch (error) {
    log.warn("blobs of removed images stay in the cache", { reason: messageOf(error) });
  }
}

/** Keeps the blobs of a layer that has arrived, also if the image that had them before was removed while in use. */
export function keepBlobs(layer: LazyLayer, cache: BlobCache): void {
  try {
    cache.keep([...ownersOf([layer])]);
  } catch (error) {
    log.warn("blobs of a new image may be removed from the cache", { layer: layer.id, reason: messageOf(error) });
  }
}
