import assert from "node:assert/strict";
import { listBootstrap, listRafsFixtures, readFixtureBootstrap } from "../../tests/support/rafs_fixtures.ts";
import { BootstrapWriter } from "./v6/writer.ts";
import { devicesOf, makeErofsImage } from "./erofs_image.ts";
import { openBootstrap } from "./open.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const owner = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

Deno.test("the image for the kernel shows the tree of the bootstrap, v5 and v6", async () => {
  for (const fixture of listRafsFixtures().filter(({ blobsAbsent }) => !blobsAbsent)) {
    const tree = openBootstrap(await readFixtureBootstrap(fixture), { treeOnly: true });
    if (tree.blobs.some(({ meta }) => meta === undefined) && tree.version === 6) continue; // blocks of another size
    const { bytes } = makeErofsImage(tree);
    assert.deepEqual(await listBootstrap(openBootstrap(bytes)), await listBootstrap(tree), fixture.name);
  }
});

Deno.test("the same bootstrap gives the same image and devices", async () => {
  for (const name of ["v5-lz4-sha256-64k", "v6-layers-merged"]) {
    const fixture = listRafsFixtures().find((one) => one.name === name) ?? assert.fail(name);
    const { bytes, devices } = makeErofsImage(openBootstrap(await readFixtureBootstrap(fixture)));
    assert.deepEqual(makeErofsImage(openBootstrap(await readFixtureBootstrap(fixture))).bytes, bytes);
    assert.deepEqual(devicesOf(openBootstrap(await readFixtureBootstrap(fixture))), devices);
  }
});

Deno.test("two files that contradict each other on a chunk refuse the image", () => {
  const writer = new BootstrapWriter({ chunkSize: 4096, compressor: "none", digester: "sha256" });
  const root = writer.addInode({ ...owner, mode: 0o040755 });
  for (const [name, uncompressedOffset] of [["a", 0], ["b", 4096]] as const) {
    const chunks = [{ blobIndex: 0, chunkIndex: 5, uncompressedOffset }];
    writer.addEntry(root, encode(name), writer.addInode({ ...owner, mode: 0o100644, size: 10, chunks }));
  }
  const bytes = writer.finish([{
    index: 0,
    id: "blob",
    compressor: "none",
    digester: "sha256",
    chunkSize: 4096,
    chunkCount: 0,
    features: 0x5,
    compressedSize: 8192,
    uncompressedSize: 8192,
    meta: { compressor: "none", offset: 0, compressedSize: 0, uncompressedSize: 0 },
  }]);
  assert.throws(
    () => makeErofsImage(openBootstrap(bytes)),
    /Cannot read chunk 5 of blob 0 at 4096: chunk 5 has 10 bytes/,
  );
});
