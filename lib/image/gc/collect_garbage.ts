/**
 * Frees cache space: blobs that no image uses, blobs beyond the limits, and leftovers of killed processes.
 *
 * Blobs of mounted images are always kept, as are blobs of which it is unknown whether an image uses them.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import * as v from "valibot";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import { kernelCacheDir } from "../../blob/cache/blob_paths.ts";
import { cacheUsage } from "../../blob/cache/cache_usage.ts";
import type { StoredBlob } from "../../blob/cache/cache_inventory.ts";
import type { LazyLayer } from "../../layer/lazy/lazy_images.ts";
import { fscacheKeeperPath, Keeper } from "../../mount/keeper/keeper.ts";
import type { LazyImageStore } from "../lazy/lazy_image_store.ts";
import type { PulledImages } from "../lazy/records/pulled_images.ts";
import { ownersOf } from "./layer_blobs.ts";
import { pulledLeftOvers, STATE_FOLDERS, stateLeftOvers } from "./state_left_overs.ts";

const log = logger("image", "gc");

/**
 * Why a blob is removed. "unused": no image uses it. "limit": the cache is too large. "all": removal of everything was
 * requested.
 */
const REASONS = ["unused", "limit", "all"] as const;

/** What was freed, or would be, in the form of the admin API. Sizes in bytes. */
export const GarbageReport = v.object({
  dry_run: v.boolean(),
  freed_bytes: v.number(),
  /** The part of it that were copies in the kernel's own cache. */
  kernel_bytes: v.optional(v.number(), 0),
  /** What remains in the cache. */
  kept_bytes: v.number(),
  blobs: v.array(v.object({ id: v.string(), bytes: v.number(), last_used: v.string(), reason: v.picklist(REASONS) })),
  files: v.array(v.object({ path: v.string(), bytes: v.number() })),
});
export type GarbageReport = v.InferOutput<typeof GarbageReport>;

/** Options of a collection. */
export interface GarbageOptions {
  /** Report only; remove nothing. */
  readonly dryRun: boolean;
  /** Also remove blobs of images that no container uses, and the kernel's own copies. */
  readonly all: boolean;
}

/** The places to collect garbage from. */
export interface GarbageSources {
  readonly cache: BlobCache;
  /** `<root>/state`. */
  readonly stateDir: string;
  readonly pulled: PulledImages;
  /** All bootstrap layers that Docker and containerd have; undefined: unknown. */
  readonly layers: readonly LazyLayer[] | undefined;
  /** Layers whose images another process has left mounted; undefined: unknown. */
  readonly mounted: readonly LazyLayer[] | undefined;
  /** The images mounted by this process; undefined: it serves none. */
  readonly images: Pick<LazyImageStore, "unmountIdle" | "idleBlobs" | "emptyKernelCache"> | undefined;
}

/**
 * Collects garbage.
 *
 * @throws {NydusGdError} "io" if something cannot be read or removed; earlier removals persist
 */
export async function collectGarbage(
  sources: GarbageSources,
  { dryRun, all }: GarbageOptions,
): Promise<GarbageReport> {
  const { cache, stateDir, pulled, layers, mounted, images } = sources;
  try {
    const wanted = all ? new Set<string>() : layers && await knownOwners(layers);
    const inUse = mounted && await knownOwners(mounted);
    const idle = all && dryRun ? images?.idleBlobs() : undefined;
    if (all && !dryRun) await images?.unmountIdle();
    const { unwanted, evicted, leftOvers, keptBytes } = await cache.collect({
      dryRun,
      isWanted: (owner) => wanted === undefined || wanted.has(owner),
      isInUse: (owner) => inUse === undefined || inUse.has(owner),
      isIdle: (name) => idle?.has(name) ?? false,
    });
    const ofState = await stateLeftOvers(stateDir, layers);
    if (!dryRun) { for (const { path } of ofState) await removeState(path, pulled); }
    const files = [...leftOvers, ...ofState].map(({ path, bytes }) => ({ path, bytes }));
    const blobs = [
      ...unwanted.map((blob) => blobRow(blob, all ? "all" : "unused")),
      ...evicted.map((blob) => blobRow(blob, "limit")),
    ];
    const kernelBytes = all ? await freeKernelCache(sources, dryRun) : 0;
    const freed = [...blobs, ...files].reduce((sum, { bytes }) => sum + bytes, kernelBytes);
    if (!dryRun) log.info("cache collected", { freedBytes: freed, blobs: blobs.length, files: files.length });
    return { dry_run: dryRun, freed_bytes: freed, kernel_bytes: kernelBytes, kept_bytes: keptBytes, blobs, files };
  } catch (error) {
    if (error instanceof NydusGdError) throw error;
    throw new NydusGdError("io", `Cannot free cache: ${messageOf(error)}`, { cause: error });
  }
}

/** Empties the kernel's own cache except for what is mounted. Returns the bytes freed, or that would be freed. */
async function freeKernelCache({ cache, stateDir, images }: GarbageSources, dryRun: boolean): Promise<number> {
  const { dir } = cache.stats();
  if (dryRun) return (await cacheUsage(dir)).kernelBytes;
  const freed = await images?.emptyKernelCache();
  if (freed !== undefined) return freed;
  if (await Keeper.pidOf(fscacheKeeperPath(stateDir)) !== undefined) return 0; // kept for a daemon that is not running
  const { kernelBytes } = await cacheUsage(dir);
  await ignore(Deno.errors.NotFound, Deno.remove(kernelCacheDir(dir), { recursive: true }));
  return kernelBytes;
}

function blobRow({ name, bytes, lastUsedMs }: StoredBlob, reason: (typeof REASONS)[number]) {
  return { id: name, bytes, last_used: new Date(lastUsedMs).toISOString(), reason };
}

/** Returns undefined if a bootstrap cannot be read, since it may use any blob. */
async function knownOwners(layers: readonly LazyLayer[]): Promise<Set<string> | undefined> {
  try {
    return await ownersOf(layers);
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    log.warn("blobs of images are unknown, none counts as unused", { reason: messageOf(error) });
    return undefined;
  }
}

/**
 * Removes the records of pulls that were killed before Docker had their image. They may contain logins.
 *
 * @param layers all bootstrap layers that Docker has
 */
export async function forgetKilledPulls(
  { stateDir, pulled }: Pick<GarbageSources, "stateDir" | "pulled">,
  layers: readonly LazyLayer[],
): Promise<void> {
  for (const { path } of await pulledLeftOvers(stateDir, layers)) await removeState(path, pulled);
}

async function removeState(path: string, pulled: PulledImages): Promise<void> {
  const hex = basename(dirname(path)) === STATE_FOLDERS.pulled ? basename(path, ".json") : undefined;
  if (hex !== undefined) await pulled.forget(`sha256:${hex}`);
  await ignore(Deno.errors.NotFound, Deno.remove(path));
}
