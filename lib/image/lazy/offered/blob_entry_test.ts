import assert from "node:assert/strict";
import { hasCode } from "../../../base/errors.ts";
import { readBlobEntry } from "./blob_entry.ts";

const config = {
  id: "factory",
  backend_type: "localfs",
  backend_config: { dir: "/blobs" },
  cache_type: "fscache",
  cache_config: { work_dir: "/cache" },
  metadata_path: "/image.boot",
};
const entry = { type: "bootstrap", id: "app-1", domain_id: "shared", config };

Deno.test("an entry gives an image's domain and name, its bootstrap and its backend", () => {
  const read = readBlobEntry(entry);
  assert.deepEqual([read.domain, read.fsid, read.bootstrapPath], ["shared", "app-1", "/image.boot"]);
  assert.deepEqual([read.config.cache.type, read.config.cache.workDir], ["fscache", "/cache"]);
  assert.equal(read.config.backend.type, "localfs");
  assert.equal(read.config.prefetch.configured, false);
});

Deno.test("config_v2 is equivalent, a domain is optional, prefetch is taken from the entry", () => {
  const config_v2 = {
    version: 2,
    id: "factory",
    backend: { type: "localfs", localfs: { dir: "/blobs" } },
    cache: { type: "fscache", fscache: { work_dir: "/cache" } },
    metadata_path: "/image.boot",
  };
  const read = readBlobEntry({ type: "bootstrap", id: "app-1", config_v2 });
  assert.deepEqual([read.domain, read.bootstrapPath, read.config.cache.workDir], ["", "/image.boot", "/cache"]);
  const prefetched = readBlobEntry({ ...entry, fs_prefetch: { enable: true, prefetch_all: false } });
  assert.deepEqual([prefetched.config.prefetch.enable, prefetched.config.prefetch.prefetchAll], [true, false]);
});

Deno.test("an invalid entry is refused with the name of the wrong field", () => {
  const cases: [document: unknown, code: "usage" | "unsupported" | "config", words: RegExp][] = [
    [{}, "usage", /type is missing/],
    [{ ...entry, id: "a/b" }, "usage", /^Cannot read blob entry: id /],
    [{ ...entry, domain_id: "a,b" }, "usage", /^Cannot read blob entry: domain_id/],
    [{ ...entry, type: "datablob" }, "unsupported", /"datablob"/],
    [{ ...entry, config: { ...config, metadata_path: "" } }, "usage", /metadata_path is missing/],
    [{ ...entry, config: { ...config, backend_type: "ftp" } }, "config", /device\.backend\.type/],
    [{ ...entry, config: undefined }, "usage", /metadata_path is missing/],
  ];
  for (const [document, code, words] of cases) {
    assert.throws(() => readBlobEntry(document), (error) => hasCode(error, code) && words.test(error.message));
  }
});
