import assert from "node:assert/strict";
import { parseNydusdConfig } from "../../backend/nydusd_config.ts";
import { parseSettings } from "../../base/settings.ts";
import { cacheOptions, fetchTuning, prefetchScope } from "./fetch_plan.ts";

const v1 = (rest: object) =>
  parseNydusdConfig(JSON.stringify({
    device: { backend: { type: "localfs", config: { dir: "/blobs" } } },
    mode: "direct",
    ...rest,
  }));

const v2 = (prefetch: object) =>
  parseNydusdConfig(JSON.stringify({
    version: 2,
    backend: { type: "localfs", localfs: { dir: "/blobs" } },
    rafs: { prefetch },
  }));

const settingsOf = (toml: string) => parseSettings(toml, {}, "settings.toml");

const on = settingsOf("");
const off = settingsOf("[prefetch]\nenabled = false");

Deno.test("everything is prefetched by default", () => {
  assert.equal(prefetchScope(on, undefined), "all");
  assert.equal(prefetchScope(on, v1({})), "all");
  assert.equal(prefetchScope(off, undefined), undefined);
});

Deno.test("nydusd's configuration sets whether and how much is prefetched, with defaults per version", () => {
  assert.equal(prefetchScope(on, v1({ fs_prefetch: {} })), undefined);
  assert.equal(prefetchScope(on, v1({ fs_prefetch: { enable: true } })), "all");
  assert.equal(prefetchScope(on, v1({ fs_prefetch: { enable: true, prefetch_all: false } })), "listed");
  assert.equal(prefetchScope(on, v2({ enable: true })), "listed");
  assert.equal(prefetchScope(on, v2({ enable: true, prefetch_all: true })), "all");
  assert.equal(prefetchScope(on, v2({ enable: false, prefetch_all: true })), undefined);
  assert.equal(prefetchScope(off, v1({ fs_prefetch: { enable: true } })), undefined);
});

Deno.test("amplify_io limits the read-ahead, with a minimum of 128 KiB, as in nydusd", () => {
  assert.equal(fetchTuning(on, v1({})).readAheadBytes, 1 << 20);
  assert.equal(fetchTuning(on, v1({ amplify_io: 262144 })).readAheadBytes, 262144);
  assert.equal(fetchTuning(on, v1({ amplify_io: 0 })).readAheadBytes, 131072);
  assert.equal(fetchTuning(on, undefined).readAheadBytes, undefined);
  const less = settingsOf('[prefetch]\nread_ahead = "32KiB"');
  assert.equal(fetchTuning(less, undefined).readAheadBytes, 32768);
  assert.equal(fetchTuning(less, v1({})).readAheadBytes, 32768);
  const none = settingsOf('[prefetch]\nread_ahead = "0"');
  assert.equal(fetchTuning(none, v1({})).readAheadBytes, 0);
});

Deno.test("surroundings are fetched if all of the image is prefetched, at any speed", () => {
  assert.equal(fetchTuning(on, undefined).hasSurroundings, true);
  assert.equal(fetchTuning(off, undefined).hasSurroundings, false);
  assert.equal(fetchTuning(on, v1({ fs_prefetch: { enable: true } })).hasSurroundings, true);
  assert.equal(fetchTuning(on, v2({ enable: true })).hasSurroundings, false);
  assert.equal(fetchTuning(on, v1({ fs_prefetch: { enable: true, bandwidth_rate: 5 } })).hasSurroundings, false);
});

Deno.test("the lower of two bandwidth limits applies, and 0 means none", () => {
  const limited = settingsOf('[prefetch]\nbandwidth = "2MB"');
  const rate = (settings: typeof on, limit: number) =>
    fetchTuning(settings, v1({ fs_prefetch: { enable: true, bandwidth_rate: limit } })).prefetchBytesPerSecond;
  assert.equal(rate(on, 0), undefined);
  assert.equal(rate(on, 5), 5);
  assert.equal(rate(limited, 0), 2e6);
  assert.equal(rate(limited, 3e6), 2e6);
  assert.equal(rate(limited, 1e6), 1e6);
});

Deno.test("only a dummycache keeps nothing", () => {
  const cache = (type: string) => {
    const backend = { type: "localfs", config: { dir: "/blobs" } };
    return parseNydusdConfig(JSON.stringify({ device: { backend, cache: { type } }, mode: "direct" }));
  };
  const settings = settingsOf("[fetch]\nparallel_per_host = 3");
  for (
    const [config, keep] of [
      [undefined, true],
      [cache(""), true],
      [cache("blobcache"), true],
      [cache("dummycache"), false],
    ] as const
  ) {
    const options = cacheOptions(settings, config);
    assert.deepEqual([options.keep, options.parallelRequests], [keep, 3]);
  }
});

Deno.test("threads_count and merging_size apply, within limits that leave slots for readers", () => {
  const tuned = (threads_count: number, merging_size: number) => {
    const config = v1({ fs_prefetch: { enable: true, threads_count, merging_size } });
    const { parallelPrefetch, prefetchRequestBytes } = fetchTuning(on, config);
    return [parallelPrefetch, prefetchRequestBytes];
  };
  assert.deepEqual(tuned(1, 4 << 20), [1, 4 << 20]);
  assert.deepEqual(tuned(64, 4096), [4, 128 << 10]);
  assert.deepEqual(tuned(3, 0), [undefined, undefined]);
  const off = fetchTuning(on, v1({ fs_prefetch: { enable: false, threads_count: 0, merging_size: 2 ** 40 } }));
  assert.deepEqual([off.parallelPrefetch, off.prefetchRequestBytes], [undefined, undefined]);
});
