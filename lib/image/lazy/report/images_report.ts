/**
 * Reports on the lazy images of a daemon, for `docker info`, `nydus-gd status`, health and metrics.
 *
 * @module
 */
import { countText } from "../../../base/count_text.ts";
import { bytesText } from "../../../base/byte_text.ts";
import { limitInBytes, type SizeLimit } from "../../../base/setting_values.ts";
import type { BlobCacheStats } from "../../../blob/blob_cache.ts";
import type { CacheUsage } from "../../../blob/cache/cache_usage.ts";
import type { BlobStats } from "../../../blob/cached_blob.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import type { DataPathChoice } from "../../../mount/data_path.ts";
import type { MountCounters } from "../../../mount/image_mounts.ts";
import type { PrefetchStatus } from "../../prefetch/image_prefetch.ts";

/** A problem. */
export interface Trouble {
  /** "failed": the daemon cannot work until someone intervenes. "degraded": it works, but less well. */
  readonly severity: "failed" | "degraded";
  readonly message: string;
}

/** A mounted image. */
export interface MountedImageReport {
  readonly layer: LazyLayer;
  /** IDs of the mounted layers that use it, one per container. */
  readonly holders: readonly string[];
  /** The backend of its blobs. */
  readonly home: string;
  readonly fsDriver: string;
  /** Why it does not use the chosen data path; undefined if it does. */
  readonly refusal: string | undefined;
  /** Path of its tree. */
  readonly path: string;
  /** Reads that had to wait for data, since the mount or takeover. */
  readonly misses: number;
  /** Recent average. */
  readonly missesPerSecond: number;
  /** A blob shared by several images appears in each. */
  readonly blobs: readonly BlobStats[];
  /** The most recent prefetch. */
  readonly prefetch: PrefetchStatus | undefined;
}

/** All lazy images of a daemon. */
export interface LazyImagesReport {
  readonly dataPath: DataPathChoice;
  /** "none": no image has been mounted since the start. "ended": the session ended unexpectedly. */
  readonly session: "none" | "serving" | "ended";
  /** Number of images lost with sessions that ended unexpectedly, since the start. */
  readonly lostImages: number;
  /** Undefined without a session. */
  readonly fuse: (MountCounters & { readonly waitingReads: number }) | undefined;
  readonly blobs: BlobCacheStats;
  /** The state of the cache folder, or why it could not be read. */
  readonly cache: CacheUsage | { readonly dir: string; readonly failure: string };
  readonly images: readonly MountedImageReport[];
}

/** With less free space, the cache cannot store the largest chunk that an image may have. */
const LARGEST_CHUNK_BYTES = 16 * 1024 * 1024;

/** Returns the problems, worst first. @param minFree free space on the cache's file system below which to warn */
export function troublesOf(report: LazyImagesReport, minFree: SizeLimit): Trouble[] {
  const troubles = cacheTroubles(report.cache, minFree);
  const { session, lostImages } = report;
  if (lostImages > 0) {
    const images = countText(lostImages, "lazy image");
    const message = `the FUSE session of ${images} has ended: their containers get errors: stop and start them`;
    troubles.unshift({ severity: session === "ended" ? "failed" : "degraded", message });
  }
  const { corruptChunks } = report.blobs;
  if (corruptChunks > 0) {
    const message = `corrupt at their source: ${corruptChunks} chunks, reads of them fail`;
    troubles.push({ severity: "degraded", message });
  }
  const whole = report.images.flatMap(({ blobs }) => blobs).filter(({ isWhole }) => isWhole);
  if (whole.length > 0) {
    const message = `a server ignores ranges, reads wait for whole blobs: ${
      countText(whole.length, "blob")
    } in transfer`;
    troubles.push({ severity: "degraded", message });
  }
  const cut = report.images.filter(({ blobs }) => blobs.some(({ lastFailure }) => lastFailure !== undefined));
  if (cut.length > 0) {
    const message = `the last fetch failed for ${cut.length} of ${report.images.length} lazy images`;
    troubles.push({ severity: "degraded", message });
  }
  return troubles;
}

function cacheTroubles(cache: LazyImagesReport["cache"], minFree: SizeLimit): Trouble[] {
  if ("failure" in cache) return [{ severity: "failed", message: cache.failure }];
  const { dir, freeBytes, totalBytes, outOfInodes } = cache;
  if (outOfInodes) {
    return [{ severity: "failed", message: `the file system of the cache "${dir}" has no free inode` }];
  }
  const left = `the file system of the cache "${dir}" has ${bytesText(freeBytes)} left`;
  if (freeBytes < LARGEST_CHUNK_BYTES) return [{ severity: "failed", message: left }];
  const wanted = limitInBytes(minFree, totalBytes);
  if (freeBytes >= wanted) return [];
  return [{ severity: "degraded", message: `${left}, less than cache.min_free (${bytesText(wanted)})` }];
}

/** Returns the rows for `docker info`. */
export function infoRows(report: LazyImagesReport, troubles: readonly Trouble[]): [string, string][] {
  const { dataPath, cache, images } = report;
  return [
    ["Data Path", `${dataPath.fsDriver} (${dataPath.reason})`],
    ["Cache Folder", cache.dir],
    ["Cache Fill", "failure" in cache ? "unknown" : fillText(cache)],
    ["Lazy Images Mounted", String(images.length)],
    ...troubles.map(({ message }): [string, string] => ["Warning", message]),
  ];
}

/** Describes how full the cache is. */
export function fillText(
  { usedBytes, kernelBytes, freeBytes, totalBytes }: Omit<CacheUsage, "dir" | "outOfInodes">,
): string {
  const copies = kernelBytes === 0 ? "" : `, ${bytesText(kernelBytes)} beside it in the kernel's own cache`;
  return `${bytesText(usedBytes)} used${copies}, ${bytesText(freeBytes)} free of ${bytesText(totalBytes)}`;
}
