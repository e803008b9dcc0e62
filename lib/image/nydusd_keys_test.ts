import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { parseNydusdConfig } from "../backend/nydusd_config.ts";
import { hasCode } from "../base/errors.ts";
import { readNydusdConfig } from "./config_files.ts";
import { checkNydusdKeys } from "./nydusd_keys.ts";

const LOCALFS = { type: "localfs", config: { dir: "/blobs" } };

/** A v1 file whose cache section, and the one in it, have these keys beside. */
const v1 = (cache: object, config: object = {}, rest: object = {}) =>
  JSON.stringify({
    device: { backend: LOCALFS, cache: { type: "blobcache", ...cache, config } },
    mode: "direct",
    ...rest,
  });

const v2 = (cache: object, filecache: object = {}, rafs: object = {}) =>
  JSON.stringify({
    version: 2,
    backend: { type: "localfs", localfs: { dir: "/blobs" } },
    cache: { type: "filecache", ...cache, filecache },
    rafs,
  });

const key = "0123456789abcdef".repeat(4);

const REFUSED = [
  [v1({ compressed: true }), "device.cache.compressed"],
  [v2({ compressed: true }), "cache.compressed"],
  [v1({}, { enable_encryption: true, encryption_key: key }), "device.cache.config.enable_encryption"],
  [v2({}, { enable_encryption: true, encryption_key: key }), "cache.filecache.enable_encryption"],
  [v1({}, { enable_convergent_encryption: true }), "device.cache.config.enable_convergent_encryption"],
  [v2({}, { enable_convergent_encryption: true }), "cache.filecache.enable_convergent_encryption"],
] as const;

Deno.test("what asks for another kind of cache is refused by its key, with a hint", async () => {
  using temp = TempDir.make();
  const path = temp.join("config.json");
  for (const [text, name] of REFUSED) {
    await Deno.writeTextFile(path, text);
    await assert.rejects(readNydusdConfig({ path, explicit: true }), (error) => {
      assert.ok(hasCode(error, "unsupported"), name);
      assert.ok(error.message.startsWith(`Cannot read configuration ${path}: ${name} is not supported`), error.message);
      assert.match(error.hint ?? "", /^remove the key/);
      return true;
    });
  }
});

Deno.test("what has no effect is told by its key", () => {
  const told = [
    [v1({ type: "fscache" }), "device.cache.type"],
    [v2({}, { disable_indexed_map: true }), "cache.filecache.disable_indexed_map"],
    [v1({}, {}, { fs_prefetch: { enable: true, stream_prefetch: true } }), "fs_prefetch.stream_prefetch"],
    [v1({}, {}, { iostats_files: true }), "iostats_files"],
    [v2({}, {}, { access_pattern: true }), "rafs.access_pattern"],
    [v2({}, {}, { latest_read_files: true }), "rafs.latest_read_files"],
  ] as const;
  for (const [text, name] of told) {
    const [warning, ...others] = checkNydusdKeys(parseNydusdConfig(text));
    assert.ok(warning?.startsWith(`Configuration key ${name} has no effect here: `), warning);
    assert.deepEqual(others, []);
  }
});

Deno.test("everything else is honoured without a word", () => {
  const texts = [
    v1({ validate: true }, { work_dir: "/c" }, { digest_validate: true, amplify_io: 0, mode: "cached" }),
    v1({ type: "dummycache" }),
    v1({ type: "" }),
    v2({ validate: true }, { encryption_key: key }, { validate: true, batch_size: 4096, mode: "cached" }),
  ];
  for (const text of texts) assert.deepEqual(checkNydusdKeys(parseNydusdConfig(text)), []);
});
