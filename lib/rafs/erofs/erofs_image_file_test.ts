import assert from "node:assert/strict";
import fc from "fast-check";
import { listRafsFixtures, readFixtureBootstrap } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { concatenate } from "../../base/bytes.ts";
import { makeErofsImage, setImageUuid } from "./erofs_image.ts";
import { decodeErofsFile, digestOf, encodeErofsFile, imageUuid, sha256 } from "./erofs_image_file.ts";
import { openBootstrap } from "../open.ts";

/**
 * Digests of the files that the current LAYOUT stands for. If one changes, LAYOUT must change, so that older files are
 * not accepted.
 */
const MADE = {
  "v5-lz4-sha256-64k": "bd43ec4403a026eae33e6418f4498674ca943a586abea4b0264a2dc9fc39e979",
  "v6-layers-merged": "2fecdc23674ce6269737064fccd5b7c2473eda32c95307b9dba5aa79623cf12f",
};

async function fileOf(name: string) {
  const fixture = listRafsFixtures().find((one) => one.name === name) ?? assert.fail(name);
  const bootstrap = (await readFixtureBootstrap(fixture)).slice();
  const digest = await digestOf(bootstrap);
  const image = makeErofsImage(openBootstrap(bootstrap));
  setImageUuid(image, await imageUuid(digest));
  return { image, digest, file: concatenate(await encodeErofsFile(image, digest)) };
}

for (const [name, made] of Object.entries(MADE)) {
  Deno.test(`the file of an image contains the image and restores its devices (${name})`, async () => {
    const { image, digest, file } = await fileOf(name);
    assert.deepEqual(file.subarray(0, image.bytes.length), image.bytes);
    assert.deepEqual(await decodeErofsFile(file, digest), image.devices);
    assert.equal(
      (await sha256(file)).toHex(),
      made,
      "another file for the same bootstrap: raise LAYOUT, and note its digest",
    );
  });
}

Deno.test("a file that is damaged, truncated or of another bootstrap is refused", async () => {
  const { digest, file } = await fileOf("v5-lz4-sha256-64k");
  assert.equal(await decodeErofsFile(file, await digestOf(digest)), undefined);
  assert.equal(await decodeErofsFile(new Uint8Array(), digest), undefined);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: file.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const damaged = file.slice();
      damaged[at] = (file[at] as number) ^ change;
      assert.equal(await decodeErofsFile(damaged, digest), undefined);
      assert.equal(await decodeErofsFile(file.subarray(0, at), digest), undefined);
    }),
  );
});
