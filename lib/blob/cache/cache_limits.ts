/**
 * Size limits of a cache, and the choice of blobs to evict when they are exceeded.
 *
 * Least recently used blobs go first, blobs in use never, and no more than necessary. When a limit is exceeded,
 * slightly more than needed is freed, so that not every write starts with an eviction.
 *
 * @module
 */
import { limitInBytes, type SizeLimit } from "../../base/setting_values.ts";
import type { StoredBlob } from "./cache_inventory.ts";

/** Limits of a cache. */
export interface CacheLimits {
  /** Maximum space that the cache's files may occupy. */
  readonly maxSize: SizeLimit;
  /** Minimum space to leave free on the file system. */
  readonly minFree: SizeLimit;
}

/** Usage of cache and file system, in bytes. */
export interface Fill {
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Share of a limit that is freed in addition. */
const HEADROOM = 0.02;

/**
 * Bytes to evict before `moreBytes` can be written within the limits; 0 if none.
 *
 * @param headroom 0, or the share of each limit to leave free in addition
 */
export function excessBytes(fill: Fill, limits: CacheLimits, moreBytes: number, headroom = 0): number {
  const { usedBytes, freeBytes, totalBytes } = fill;
  const most = Math.min(limitInBytes(limits.maxSize, totalBytes), totalBytes);
  const least = limitInBytes(limits.minFree, totalBytes);
  const overSize = usedBytes + moreBytes - most * (1 - headroom);
  const underFree = least * (1 + headroom) + moreBytes - freeBytes;
  return Math.max(0, Math.ceil(overSize), Math.ceil(underFree));
}

/**
 * Selects the blobs to evict, oldest first; none if everything fits.
 *
 * @param blobs evictable blobs, least recently used first
 */
export function chooseVictims(
  blobs: readonly StoredBlob[],
  fill: Fill,
  limits: CacheLimits,
  moreBytes: number,
): StoredBlob[] {
  if (excessBytes(fill, limits, moreBytes) === 0) return [];
  let excess = excessBytes(fill, limits, moreBytes, HEADROOM);
  const victims: StoredBlob[] = [];
  for (const blob of blobs) {
    if (excess <= 0) break;
    victims.push(blob);
    excess -= blob.bytes;
  }
  return victims;
}
