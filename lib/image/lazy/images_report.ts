/**
 * What there is to say about the lazy images of a daemon: for `docker info`, `nydus-gd status`, health and metrics.
 *
 * @module
 */
import { many } from "../../base/count_text.ts";
import { bytesText } from "../../base/byte_text.ts";
import { limitInBytes, type SizeLimit } from "../../base/setting_values.ts";
import type { BlobCacheStats } from "../../blob/blob_cache.ts";
import type { CacheUsage } from "../../blob/cache/cache_usage.ts";
import type { BlobStats } from "../../blob/cached_blob.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import type { DataPathChoice } from "../../mount/choose.ts";
import type { FuseCounters } from "../../mount/fuse/session.ts";
import type { PrefetchStatus } from "./image_prefetch.ts";

/** Something that is not as it should be. */
export interface Trouble {
  /** "failed": the daemon cannot do its work until somebody acts. "degraded": it does, less well. */
  readonly severity: "failed" | "degraded";
  readonly message: string;
}

/** One mounted image. */
export interface MountedImageReport {
  readonly layer: LazyLayer;
  /** Ids of the layers that stand on it, each of them of a container, as long as they are mounted. */
  readonly holders: readonly string[];
  /** Where its blobs are fetched from. */
  readonly home: string;
  readonly fsDriver: string;
  /** Why that is not the data path that was chosen; undefined where it is. */
  readonly refusal: string | undefined;
  /** Where its tree is. */
  readonly path: string;
  /** Reads that had to wait for data, since it was mounted or taken over. */
  readonly misses: number;
  /** Lately. */
  readonly missesPerSecond: number;
  /** A blob that several images have is counted by each. */
  readonly blobs: readonly BlobStats[];
  /** The last prefetch that was asked for. */
  readonly prefetch: PrefetchStatus | undefined;
}

/** All of them. */
export interface LazyImagesReport {
  readonly dataPath: DataPathChoice;
  /** "none": no image was mounted since the start. "ended": somebody unmounted it. */
  readonly session: "none" | "serving" | "ended";
  /** Images that went with sessions that ended by themselves, since the start. */
  readonly lostImages: number;
  /** Undefined without a session. */
  readonly fuse: (FuseCounters & { readonly waitingReads: number }) | undefined;
  readonly blobs: BlobCacheStats;
  /** What kept the cache folder from being looked at, else what was seen. */
  readonly cache: CacheUsage | { readonly dir: string; readonly failure: string };
  readonly images: readonly MountedImageReport[];
}

/** A cache with less space cannot take the largest chunk that an image may have. */
const LARGEST_CHUNK_BYTES = 16 * 1024 * 1024;

/** What is wrong, the worst first. `minFree`: space on the cache's file system below which it is told. */
export function troublesOf(report: LazyImagesReport, minFree: SizeLimit): Trouble[] {
  const troubles = cacheTroubles(report.cache, minFree);
  const { session, lostImages } = report;
  if (lostImages > 0) {
    const images = many(lostImages, "lazy image");
    const message = `the FUSE session of ${images} has ended: their containers get errors, restart them`;
    troubles.unshift({ severity: session === "ended" ? "failed" : "degraded", message });
  }
  const { corruptChunks } = report.blobs;
  if (corruptChunks > 0) {
    const message = `corrupt at their source: ${corruptChunks} chunks, reads of them fail`;
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
    return [{ severity: "failed", message: `the file system of the cache "${dir}" has no inode left` }];
  }
  const left = `the file system of the cache "${dir}" has ${bytesText(freeBytes)} left`;
  if (freeBytes < LARGEST_CHUNK_BYTES) return [{ severity: "failed", message: left }];
  const wanted = limitInBytes(minFree, totalBytes);
  if (freeBytes >= wanted) return [];
  return [{ severity: "degraded", message: `${left}, less than cache.min_free (${bytesText(wanted)})` }];
}

/** Rows for `docker info`. */
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

/** How full the cache is, in words. */
export function fillText(
  { usedBytes, kernelBytes, freeBytes, totalBytes }: Omit<CacheUsage, "dir" | "outOfInodes">,
): string {
  const copies = kernelBytes === 0 ? "" : `, ${bytesText(kernelBytes)} beside it in the kernel's own cache`;
  return `${bytesText(usedBytes)} used${copies}, ${bytesText(freeBytes)} free of ${bytesText(totalBytes)}`;
}
