/**
 * How large a cache may be, and which blobs go when it is larger.
 *
 * Least recently used first, never one that is in use, and no more than it takes. Where the limits are passed, a little
 * more room is made than is needed, so that not every write begins with an eviction.
 *
 * @module
 */
import { limitInBytes, type SizeLimit } from "../../base/setting_values.ts";
import type { StoredBlob } from "./cache_inventory.ts";

/** Bounds of a cache. */
export interface CacheLimits {
  /** Of what the cache's files occupy. */
  readonly maxSize: SizeLimit;
  /** Of what the file system has left. */
  readonly minFree: SizeLimit;
}

/** How full cache and file system are, in bytes. */
export interface Fill {
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Share of a limit that is made free beyond it. */
const HEADROOM = 0.02;

/**
 * Bytes that have to go before `moreBytes` can be written within the limits; 0: none.
 *
 * @param headroom 0, or the share of each limit that is to be left beyond it
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
 * The blobs that have to go, the oldest first; none where everything fits.
 *
 * @param blobs that may go, in order of their last use
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
