/**
 * Sharing of the link over real connections: a registry behind a throttle. Asserts order, bytes and requests, not time.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ensureRows, QUIET } from "../../tests/support/blob/blob_setup.ts";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { until } from "../../tests/support/until.ts";
import { DEFAULT_FETCH_OPTIONS } from "../backend/http/fetch_options.ts";
import { HttpClient } from "../backend/http/http_client.ts";
import { openRegistry } from "../backend/open_backend.ts";
import { ANONYMOUS } from "../backend/registry/keychain.ts";
import { Throttle } from "../demo/throttle.ts";
import type { Blob } from "./blob.ts";
import { BlobCache, type BlobCacheOptions } from "./blob_cache.ts";

interface LinkedBlob {
  readonly blob: Blob;
  readonly registry: FakeRegistry;
  /** Offsets of the ranges requested from the registry, in order. */
  offsets(): number[];
}

interface LinkSpec {
  readonly bytesPerSecond: number;
  readonly delayMs: number;
  readonly cache?: Partial<BlobCacheOptions>;
}

/** Runs `test` with the blob on the far side of a link. */
async function overLink(
  { descriptor, records, bytes }: SyntheticBlob,
  { cache: options, ...limits }: LinkSpec,
  test: (linked: LinkedBlob) => Promise<void>,
): Promise<void> {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(bytes);
  await using link = new Throttle({ upstream: registry.url, ...limits });
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const backend = openRegistry({ host: link.host, repo: "app", scheme: "http" }, { http, keychain: ANONYMOUS });
  await using cache = BlobCache.open(temp.path, { ...QUIET, ...options });
  const blob = cache.acquire({ descriptor: { ...descriptor, id }, source: backend.blob(id), records: () => records });
  const offsets = () =>
    registry.requests.flatMap(({ headers: { range } }) => /^bytes=(\d+)-/.exec(String(range))?.[1] ?? []).map(Number);
  await test({ blob, registry, offsets });
}

Deno.test("on a slow link a prefetch gives way to a reader and continues afterwards", async () => {
  const size = 100_000;
  const synthetic = await makeSyntheticBlob({ sizes: Array<number>(10).fill(size) });
  await overLink(synthetic, { bytesPerSecond: 500_000, delayMs: 5 }, async ({ blob, offsets }) => {
    const ahead = ensureRows(blob, synthetic, [0, 1, 2], "prefetch");
    await until("it is requested", () => offsets().length > 0);
    await ensureRows(blob, synthetic, [9]);
    assert.deepEqual(offsets().slice(0, 2), [0, 9 * size]);
    await ahead;
    const rest = offsets().slice(2).sort((a, b) => a - b);
    assert.deepEqual(rest, [0, size, 2 * size], "restarted, one chunk at a time");
    assert.equal(blob.stats().failedRequests, 0);
  });
});

Deno.test("read-ahead is larger on a link with high bandwidth and latency than on a slow one", async () => {
  const synthetic = await makeSyntheticBlob({
    sizes: Array.from({ length: 60 }, (_, i) => i % 2 === 0 ? 8000 : 40_000),
  });
  const requestsOver = async (bytesPerSecond: number): Promise<number> => {
    let requests = 0;
    const cache = { readAheadBytes: 1024 * 1024 };
    await overLink(synthetic, { bytesPerSecond, delayMs: 10, cache }, async ({ blob, offsets }) => {
      for (let i = 0; i < 60; i++) await ensureRows(blob, synthetic, [(i * 37) % 60]);
      requests = offsets().length;
    });
    return requests;
  };
  const slow = await requestsOver(600_000), fast = await requestsOver(Infinity);
  assert.ok(fast < slow, `${fast} requests over a fast link, ${slow} over a slow one`);
});
