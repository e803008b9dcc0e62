/**
 * Determines which blobs bootstrap layers use, and removes those of removed layers from the cache.
 *
 * @module
 */
import { delay } from "../../base/abort.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import type { LazyLayer } from "../../layer/lazy/lazy_images.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";

const log = logger("image", "gc");

/** Milliseconds for which bootstraps are read at a time: readers of images wait for the same thread. */
const READING_MS = 10;

/** By layer: the bootstrap of a layer never changes, and reading it for each removal of another one would take long. */
const knownOwners = new WeakMap<LazyLayer, readonly string[]>();

/**
 * Returns the owners of the cached blobs that any of `layers` uses.
 *
 * @throws {NydusGdError} for a bootstrap that cannot be read
 */
export async function ownersOf(layers: readonly LazyLayer[]): Promise<Set<string>> {
  await readOwners(layers);
  return new Set(layers.flatMap(ownersOfOne));
}

/** Reads the bootstraps whose owners are not known yet. @throws as {@link ownersOf} */
async function readOwners(layers: readonly LazyLayer[]): Promise<void> {
  let startedAt = performance.now();
  for (const layer of layers) {
    ownersOfOne(layer);
    if (performance.now() - startedAt < READING_MS) continue;
    await delay(0);
    startedAt = performance.now();
  }
}

function ownersOfOne(layer: LazyLayer): readonly string[] {
  const known = knownOwners.get(layer);
  if (known !== undefined) return known;
  using bootstrap = MappedBootstrap.open(layer.bootstrapPath);
  const owners = bootstrap.blobNames().flatMap(({ owners }) => owners);
  knownOwners.set(layer, owners);
  return owners;
}

/**
 * Removes the blobs that only this layer's image uses from the cache, deferred for blobs that are still being read.
 *
 * @param layers lists all layers, this one or not, each always as the same object
 */
export async function discardBlobs(
  layer: LazyLayer,
  layers: () => Promise<readonly LazyLayer[]>,
  cache: BlobCache,
): Promise<void> {
  try {
    await readOwners(await layers());
    const owners = new Set(ownersOfOne(layer));
    // from here on without a pause, in which another layer could arrive
    const others = (await layers()).filter(({ id }) => id !== layer.id);
    for (const owner of others.flatMap(ownersOfOne)) owners.delete(owner);
    await cache.discard([...owners]);
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
    const needed = await ownersOf(await layers());
    cache.keep([...owners.intersection(needed)]);
    await cache.discard([...owners.difference(needed)]);
  } catch (error) {
    log.warn("blobs of removed images stay in the cache", { reason: messageOf(error) });
  }
}

/** Keeps the blobs of a layer that has arrived, also if the image that had them before was removed while in use. */
export function keepBlobs(layer: LazyLayer, cache: BlobCache): void {
  try {
    cache.keep(ownersOfOne(layer));
  } catch (error) {
    log.warn("blobs of a new image may be removed from the cache", { layer: layer.id, reason: messageOf(error) });
  }
}
