/**
 * Every chunk of every fixture blob, through the whole data path: source, decoder, cache file.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { preadExact } from "../../ffi/unistd.ts";
import { allRafsFixtures, MemoryBlob, readFixtureBootstrap } from "../../tests/support/rafs/rafs_fixtures.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { LocalFsBackend } from "../backend/localfs.ts";
import { BLOB_FEATURE, effectiveBlobId, has } from "../rafs/format/flags.ts";
import { openBootstrap } from "../rafs/open.ts";
import { hasBit } from "./cache/bits.ts";
import { BlobCache } from "./blob_cache.ts";

for (const fixture of allRafsFixtures()) {
  if (fixture.blobsAbsent) continue;
  Deno.test(`every chunk of ${fixture.name} is fetched, verified and cached, and not fetched again`, async () => {
    const bootstrap = openBootstrap(await readFixtureBootstrap(fixture));
    const backend = LocalFsBackend.inFolder(join(fixture.directory, "blobs"));
    using dir = TempDir.make();
    for (const run of ["cold", "warm"]) {
      await using cache = BlobCache.open(dir.path, { decodeWorkers: run === "cold" ? 1 : 0 });
      for (const descriptor of bootstrap.blobs) {
        const id = effectiveBlobId(descriptor, fixture.container);
        const blob = cache.acquire({
          descriptor,
          id,
          source: backend.blob(id),
          ...(descriptor.metaBlobId === undefined ? {} : { metaSource: backend.blob(descriptor.metaBlobId) }),
          records: () => bootstrap.chunkRecords(),
        });
        const { chunks, dataFd, ready } = await blob.open();
        const expected = MemoryBlob.open(
          bootstrap,
          descriptor,
          await Deno.readFile(join(fixture.directory, "blobs", id)),
          await Deno.readFile(join(fixture.directory, "blobs", descriptor.metaBlobId ?? id)),
        );
        const isWholeTar = has(descriptor.features, BLOB_FEATURE.tarfs); // verified as a whole
        for (let row = 0; row < chunks.count; row++) {
          const known = expected.hasDigest(row) || isWholeTar;
          const offset = chunks.uncompressedOffset[row] as number, size = chunks.uncompressedSize[row] as number;
          if (size === 0) continue;
          if (!known) {
            await assert.rejects(blob.ensure(offset, size, "on-demand"), /the image has no digest of it/);
            continue;
          }
          if (run === "warm") assert.ok(hasBit(ready, row));
          await blob.ensure(offset, size, "on-demand");
          assert.ok(hasBit(ready, row));
          const bytes = new Uint8Array(size);
          preadExact(dataFd, bytes, offset);
          assert.deepEqual(bytes, await expected.chunk(row));
        }
        await cache.release(blob);
      }
      if (run === "warm") assert.equal(cache.stats().requests, 0);
    }
  });
}
