import assert from "node:assert/strict";
import fc from "fast-check";
import { listRafsFixtures, readFixtureBootstrap } from "../../tests/support/rafs_fixtures.ts";
import { concatenate } from "../base/bytes.ts";
import { makeErofsImage } from "./erofs_image.ts";
import { decodeErofsFile, digestOf, encodeErofsFile } from "./erofs_image_file.ts";
import { openBootstrap } from "./open.ts";

/**
 * Digests of the files that the current LAYOUT stands for. If one changes, LAYOUT must change, so that older files are
 * not accepted.
 */
const MADE = {
  "v5-lz4-sha256-64k": "d01dfc2894b472b1a81380f82639096ed34e7bb8338991f3684385b70e889e48",
  "v6-layers-merged": "117b1505d3ade0120f5010108e82eca6301b29b2a6b9b2f1d9917a0a4275514f",
};

async function fileOf(name: string) {
  const fixture = listRafsFixtures().find((one) => one.name === name) ?? assert.fail(name);
  const bootstrap = await readFixtureBootstrap(fixture);
  const image = makeErofsImage(openBootstrap(bootstrap));
  return { image, digest: digestOf(bootstrap), file: concatenate(encodeErofsFile(image, digestOf(bootstrap))) };
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
