import assert from "node:assert/strict";
import { contradictoryBootstrap } from "../../tests/support/contradictory_image.ts";
import { listBootstrap, listRafsFixtures, readFixtureBootstrap } from "../../tests/support/rafs_fixtures.ts";
import { devicesOf, makeErofsImage } from "./erofs_image.ts";
import { openBootstrap } from "./open.ts";

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
  assert.throws(
    () => makeErofsImage(openBootstrap(contradictoryBootstrap())),
    /Cannot read chunk 5 of blob 0 at 4096: chunk 5 has 10 bytes/,
  );
});
