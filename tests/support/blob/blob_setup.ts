/**
 * A cache with one synthetic blob, for tests of lib/blob and of its users.
 *
 * @module
 */
import assert from "node:assert/strict";
import { preadExact } from "../../../ffi/unistd.ts";
import type { Blob } from "../../../lib/blob/blob.ts";
import { BlobCache, type BlobCacheOptions } from "../../../lib/blob/blob_cache.ts";
import { hasBit } from "../../../lib/blob/cache/bits.ts";
import { ScriptedSource } from "./scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob, type SyntheticOptions } from "./synthetic_blob.ts";
import { TempDir } from "../temp_dir.ts";

/** What a test gets. */
export interface BlobSetup {
  readonly dir: string;
  readonly cache: BlobCache;
  readonly blob: Blob;
  readonly source: ScriptedSource;
  readonly synthetic: SyntheticBlob;
}

/** Options to decode in the test's thread, without background flushes or read-ahead. */
export const QUIET: Partial<BlobCacheOptions> = {
  readAheadBytes: 0,
  decodeWorkers: 0,
  prefetchQuietMs: 0,
  flushAfterMs: 1e9,
  flushAfterBytes: Infinity,
};

/** Runs `test` on a fresh cache. */
export async function withBlob(
  options: SyntheticOptions & { readonly cache?: Partial<BlobCacheOptions> },
  test: (setup: BlobSetup) => Promise<void>,
): Promise<void> {
  const synthetic = await makeSyntheticBlob(options);
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, { ...QUIET, ...options.cache });
  const source = new ScriptedSource(synthetic.bytes);
  await test({ dir: dir.path, cache, blob: acquire(cache, synthetic, source), source, synthetic });
}

/** Acquires the blob for an image with its own source. */
export function acquire(cache: BlobCache, { descriptor, records }: SyntheticBlob, source: ScriptedSource): Blob {
  return cache.acquire({ descriptor, source, records: () => records });
}

/** Ensures whole chunks, from the first to the last of `rows`, which must be consecutive. */
export function ensureRows(
  blob: Blob,
  { records }: SyntheticBlob,
  rows: readonly number[],
  priority: "on-demand" | "prefetch" = "on-demand",
  signal?: AbortSignal,
): Promise<void> {
  const first = records[Math.min(...rows)], last = records[Math.max(...rows)];
  assert.ok(first !== undefined && last !== undefined);
  const offset = first.uncompressedOffset;
  return blob.ensure(offset, last.uncompressedOffset + last.uncompressedSize - offset, priority, signal);
}

/** Asserts that the chunk is ready and the cache file contains its bytes. */
export async function assertCached(blob: Blob, { records, plain }: SyntheticBlob, row: number): Promise<void> {
  const { dataFd } = await blob.open();
  assert.ok(await isReady(blob, row), `chunk ${row} is ready`);
  const expected = plain[row] ?? new Uint8Array(0);
  const bytes = new Uint8Array(expected.length);
  preadExact(dataFd, bytes, records[row]?.uncompressedOffset ?? 0);
  assert.deepEqual(bytes, expected);
}

/** Whether the chunk's ready bit is set. */
export async function isReady(blob: Blob, row: number): Promise<boolean> {
  const { ready } = await blob.open();
  return hasBit(ready, row);
}
