import assert from "node:assert/strict";
import { makeSyntheticImage } from "../../../tests/support/synthetic_image.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { devicesOf } from "../../rafs/erofs_image.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { keepImage } from "./kept_image.ts";

const CHUNK = 4096;
const ONE = makeSyntheticImage({ file: 5 * CHUNK }, CHUNK).bootstrap;
const OTHER = makeSyntheticImage({ file: 6 * CHUNK }, CHUNK).bootstrap;

function inodeOf(path: string): number | null {
  return Deno.statSync(path).ino;
}

Deno.test("an image is made once, and again if its file is damaged or of another bootstrap", () => {
  using temp = TempDir.make();
  const path = temp.join("image");
  const devices = devicesOf(openBootstrap(ONE));
  assert.deepEqual(keepImage(ONE, path), devices);
  const made = Deno.readFileSync(path), inode = inodeOf(path);
  assert.deepEqual(keepImage(ONE, path), devices);
  assert.equal(inodeOf(path), inode, "the file is reused");

  for (const damage of [made.slice(0, -1), made.map((byte, at) => at === 4096 ? byte ^ 1 : byte), new Uint8Array()]) {
    Deno.writeFileSync(path, damage);
    assert.deepEqual(keepImage(ONE, path), devices);
    assert.deepEqual(Deno.readFileSync(path), made);
  }
  assert.deepEqual(keepImage(OTHER, path), devicesOf(openBootstrap(OTHER)));
  assert.notDeepEqual(Deno.readFileSync(path), made);
});
