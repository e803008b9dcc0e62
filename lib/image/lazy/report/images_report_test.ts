import assert from "node:assert/strict";
import type { BlobStats } from "../../../blob/cached_blob.ts";
import { infoRows, type LazyImagesReport, troublesOf } from "./images_report.ts";

const GB = 1e9;
const MIN_FREE = { percent: 5 };

const CACHE = {
  dir: "/c",
  usedBytes: GB,
  kernelBytes: 0,
  freeBytes: 40 * GB,
  totalBytes: 100 * GB,
  outOfInodes: false,
};

const HEALTHY: LazyImagesReport = {
  dataPath: { fsDriver: "fuse", reason: "selected by name", named: true },
  session: "serving",
  lostImages: 0,
  fuse: undefined,
  blobs: { dir: "/c", blobs: [], bytesFetched: 0, requests: 0, failedRequests: 0, corruptChunks: 0 },
  cache: CACHE,
  images: [],
};

const BLOB: BlobStats = {
  id: "b",
  compressedSize: 1,
  uncompressedSize: 1,
  chunks: 1,
  chunksReady: 0,
  bytesFetched: 0,
  requests: 1,
  failedRequests: 1,
  corruptChunks: 0,
  sources: [],
  isWhole: false,
};

function imageOf(blob: BlobStats): LazyImagesReport["images"][number] {
  const layer = { id: "l", bootstrapPath: "/b", home: "/h" };
  const mount = { home: "here", fsDriver: "fuse", refusal: undefined, path: "/p" };
  return { layer, holders: [], ...mount, misses: 0, missesPerSecond: 0, blobs: [blob], prefetch: undefined };
}

function shown(report: Partial<LazyImagesReport>): string[] {
  return troublesOf({ ...HEALTHY, ...report }, MIN_FREE).map(({ severity, message }) => `${severity}: ${message}`);
}

Deno.test("a healthy server has no problems", () => {
  assert.deepEqual(shown({}), []);
  assert.deepEqual(shown({ session: "none" }), []);
  assert.deepEqual(infoRows(HEALTHY, []), [
    ["Data Path", "fuse (selected by name)"],
    ["Cache Folder", "/c"],
    ["Cache Fill", "1.00 GB used, 40.0 GB free of 100 GB"],
    ["Lazy Images Mounted", "0"],
  ]);
});

Deno.test("the kernel's own cache is reported beside ours", () => {
  const [, , fill] = infoRows({ ...HEALTHY, cache: { ...CACHE, kernelBytes: 2 * GB } }, []);
  const text = "1.00 GB used, 2.00 GB beside it in the kernel's own cache, 40.0 GB free of 100 GB";
  assert.deepEqual(fill, ["Cache Fill", text]);
});

Deno.test("a cache that can store no chunk has failed, one below min_free is degraded", () => {
  const cache = (freeBytes: number, outOfInodes = false) =>
    shown({ cache: { ...CACHE, usedBytes: 0, freeBytes, outOfInodes } });
  const left = 'the file system of the cache "/c" has';
  assert.deepEqual(cache(5 * GB), []);
  assert.deepEqual(cache(5 * GB - 1), [`degraded: ${left} 5.00 GB left, less than cache.min_free (5.00 GB)`]);
  assert.deepEqual(cache(1e6), [`failed: ${left} 1.00 MB left`]);
  assert.deepEqual(cache(40 * GB, true), [`failed: ${left.replace(/ has$/, " has no free inode")}`]);
});

Deno.test("a cache folder that cannot be read has failed", () => {
  const cache = { dir: "/c", failure: 'Cannot examine cache "/c": ENOENT' };
  assert.deepEqual(shown({ cache }), ['failed: Cannot examine cache "/c": ENOENT']);
  assert.deepEqual(infoRows({ ...HEALTHY, cache }, [])[2], ["Cache Fill", "unknown"]);
});

Deno.test("a session that ended unexpectedly has failed until another one serves", () => {
  const message = "the FUSE session of 2 lazy images has ended: their containers get errors: stop and start them";
  assert.deepEqual(shown({ session: "ended", lostImages: 2 }), [`failed: ${message}`]);
  assert.deepEqual(shown({ session: "serving", lostImages: 2 }), [`degraded: ${message}`]);
});

Deno.test("blobs that are transferred as a whole are reported, since reads wait for them", () => {
  const images = [imageOf({ ...BLOB, isWhole: true }), imageOf(BLOB)];
  assert.deepEqual(shown({ images }), [
    "degraded: a server ignores ranges, reads wait for whole blobs: 1 blob in transfer",
  ]);
});

Deno.test("corrupt chunks and failing sources are reported, the worst first", () => {
  const failing = { ...BLOB, lastFailure: "Cannot read blob b: HTTP 503" };
  const report = {
    blobs: { ...HEALTHY.blobs, corruptChunks: 3 },
    images: [imageOf(failing), imageOf(BLOB)],
    session: "ended" as const,
    lostImages: 1,
  };
  assert.deepEqual(shown(report), [
    "failed: the FUSE session of 1 lazy image has ended: their containers get errors: stop and start them",
    "degraded: corrupt at their source: 3 chunks, reads of them fail",
    "degraded: the last fetch failed for 1 of 2 lazy images",
  ]);
  const rows = infoRows({ ...HEALTHY, ...report }, troublesOf({ ...HEALTHY, ...report }, MIN_FREE));
  assert.equal(rows.filter(([name]) => name === "Warning").length, 3);
});
