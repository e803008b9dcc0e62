/**
 * Debian's docker-registry as a pull-through cache that does not have a blob yet. It ignores ranges until it has.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { openRegistry } from "../../lib/backend/open_backend.ts";
import { ANONYMOUS } from "../../lib/backend/registry/keychain.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { assertCached, ensureRows, isReady, QUIET } from "../support/blob/blob_setup.ts";
import { DockerRegistry, dockerRegistryMissing } from "../support/backend/docker_registry.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { makeSyntheticBlob } from "../support/blob/synthetic_blob.ts";
import { TempDir } from "../support/temp_dir.ts";

if (dockerRegistryMissing !== undefined) console.log(`skipped: ${dockerRegistryMissing}`);

Deno.test({
  name: "a blob that a pull-through cache is fetching has a size, and its chunks are read as they arrive there",
  ignore: dockerRegistryMissing !== undefined,
  fn: async () => {
    await using _quiet = await quietLogs();
    const synthetic = await makeSyntheticBlob({ sizes: Array<number>(12).fill(1 << 20), compressor: "none" });
    const { descriptor, records, bytes } = synthetic;
    await using upstream = await FakeRegistry.start();
    const id = upstream.addBlob(bytes);
    const held = Promise.withResolvers<void>();
    upstream.lasting = { kind: "whole", hold: { after: 9 << 20, until: held.promise } };
    await using registry = await DockerRegistry.start({ cacheOf: upstream.url });
    using dir = TempDir.make();
    using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
    await using cache = BlobCache.open(dir.path, QUIET);
    const source = openRegistry({ host: registry.host, repo: "app" }, { http, keychain: ANONYMOUS }).blob(id);
    assert.equal(await source.size(AbortSignal.timeout(30_000)), bytes.length);
    const blob = cache.acquire({ descriptor, source, records: () => records });
    await ensureRows(blob, synthetic, [6]);
    await assertCached(blob, synthetic, 6);
    const late = ensureRows(blob, synthetic, [11]);
    assert.equal(await isReady(blob, 11), false);
    held.resolve();
    await late;
    await assertCached(blob, synthetic, 11);
  },
});
