import assert from "node:assert/strict";
import fc from "fast-check";
import { listRafsFixtures, readFixtureBootstrap } from "../../tests/support/rafs_fixtures.ts";
import { concatenate } from "../base/bytes.ts";
import { makeErofsImage } from "./erofs_image.ts";
import { decodeErofsFile, digestOf, encodeErofsFile, imageUuid } from "./erofs_image_file.ts";
import { openBootstrap } from "./open.ts";

/**
 * Digests of the files that the current LAYOUT stands for. If one changes, LAYOUT must change, so that older files are
 * not accepted.
 */
const MADE = {
  "v5-lz4-sha256-64k": "80c9e2ac7f921a759d831a9c607d78715d9b9dd2a14c6120bf748bd64ef6cc9d",
  "v6-layers-merged": "59001290d6a92be348049be5501eb757fbe85af1fd5e5842667bf4d7520605d5",
};

async function fileOf(name: string) {
  const fixture = listRafsFixtures().find((one) => one.name === name) ?? assert.fail(name);
  const bootstrap = await readFixtureBootstrap(fixture);
  const digest = digestOf(bootstrap);
  const image = makeErofsImage(openBootstrap(bootstrap), imageUuid(digest));
  return { image, digest, file: concatenate(encodeErofsFile(image, digest)) };
}

for (const [name, made] of Object.entries(MADE)) {
  Deno.test(`the file of an image contains the image and restores its devices (${name})`, async () => {
    const { image, digest, file } = await fileOf(name);
    assert.deepEqual(file.subarray(0, image.bytes.length), image.bytes);
    assert.deepEqual(decodeErofsFile(file, digest), image.devices);
    assert.equal(
      digestOf(file).toHex(),
      made,
      "another file for the same bootstrap: raise LAYOUT, and note its digest",
    );
  });
}

Deno.test("a file that is damaged, truncated or of another bootstrap is refused", async () => {
  const { digest, file } = await fileOf("v5-lz4-sha256-64k");
  assert.equal(decodeErofsFile(file, digestOf(digest)), undefined);
  assert.equal(decodeErofsFile(new Uint8Array(), digest), undefined);
  fc.assert(fc.property(fc.nat({ max: file.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
    const damaged = file.slice();
    damaged[at] = (file[at] as number) ^ change;
    assert.equal(decodeErofsFile(damaged, digest), undefined);
    assert.equal(decodeErofsFile(file.subarray(0, at), digest), undefined);
  }));
});
