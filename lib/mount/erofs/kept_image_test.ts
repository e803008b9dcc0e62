import assert from "node:assert/strict";
import { makeSyntheticImage } from "../../../tests/support/rafs/synthetic_image.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { devicesOf } from "../../rafs/erofs/erofs_image.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { keepImage, keptDevices, prepareImage } from "./kept_image.ts";

const CHUNK = 4096;
const ONE = makeSyntheticImage({ file: 5 * CHUNK }, CHUNK).bootstrap;
const OTHER = makeSyntheticImage({ file: 6 * CHUNK }, CHUNK).bootstrap;

function inodeOf(path: string): number | null {
  return Deno.statSync(path).ino;
}

Deno.test("an image is made once, and again if its file is damaged or of another bootstrap", async () => {
  using temp = TempDir.make();
  const path = temp.join("image");
  const devices = devicesOf(openBootstrap(ONE));
  assert.deepEqual(await keepImage(ONE, path), devices);
  const made = Deno.readFileSync(path), inode = inodeOf(path);
  assert.deepEqual(await keepImage(ONE, path), devices);
  assert.equal(inodeOf(path), inode, "the file is reused");

  for (const damage of [made.slice(0, -1), made.map((byte, at) => at === 4096 ? byte ^ 1 : byte), new Uint8Array()]) {
    Deno.writeFileSync(path, damage);
    assert.deepEqual(await keepImage(ONE, path), devices);
    assert.deepEqual(Deno.readFileSync(path), made);
  }
  assert.deepEqual(await keepImage(OTHER, path), devicesOf(openBootstrap(OTHER)));
  assert.notDeepEqual(Deno.readFileSync(path), made);
});

Deno.test("an image that was made in advance is kept if it is of the same bootstrap", async () => {
  using temp = TempDir.make();
  const [one, other, path] = [temp.join("one"), temp.join("other"), temp.join("image")];
  Deno.writeFileSync(one, ONE);
  Deno.writeFileSync(other, OTHER);
  const prepared = await prepareImage(one) ?? assert.fail();
  assert.deepEqual(prepared.image.devices, devicesOf(openBootstrap(ONE)));
  assert.equal(await keepImage(ONE, path, prepared), prepared.image.devices);
  const made = Deno.readFileSync(path);
  Deno.removeSync(path);
  assert.deepEqual(await keepImage(ONE, path), prepared.image.devices);
  assert.deepEqual(Deno.readFileSync(path), made, "the same as one made when it is needed");
  assert.deepEqual(await keepImage(OTHER, path, prepared), devicesOf(openBootstrap(OTHER)));
});

Deno.test("no image is made in advance of what is no bootstrap", async () => {
  using temp = TempDir.make();
  const paths = [temp.path, temp.join("missing"), temp.join("text"), temp.join("empty"), temp.join("pipe")];
  Deno.writeFileSync(temp.join("text"), new TextEncoder().encode("registry.example/app:1".repeat(1000)));
  Deno.writeFileSync(temp.join("empty"), new Uint8Array());
  await new Deno.Command("mkfifo", { args: [temp.join("pipe")] }).output();
  for (const path of paths) assert.equal(await prepareImage(path), undefined, path);
});

Deno.test("what is in the place of an image's file is no image, and a failure names it and a remedy", async () => {
  using temp = TempDir.make();
  const path = temp.join("image");
  Deno.mkdirSync(`${path}/folder`, { recursive: true });
  assert.equal(await keptDevices(ONE, path), undefined);
  await assert.rejects(keepImage(ONE, path), { code: "io", hint: `mv ${path} ${path}.aside` });
  assert.deepEqual([...Deno.readDirSync(temp.path)].map(({ name }) => name), ["image"], "nothing else is left");
});
