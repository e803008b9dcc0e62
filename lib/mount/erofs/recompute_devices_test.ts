import assert from "node:assert/strict";
import { O, open } from "../../../ffi/fcntl.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import { makeSyntheticImage } from "../../../tests/support/rafs/synthetic_image.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { devicesOf } from "../../rafs/erofs/erofs_image.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { imagePath } from "./erofs_tasks.ts";
import { keepImage } from "./kept_image.ts";
import { recomputeDevices } from "./recompute_devices.ts";

const CHUNK = 4096;

Deno.test("an image's devices are computed with its file, without it, and if it is another bootstrap's", async () => {
  using temp = TempDir.make();
  const { bootstrap: bytes } = makeSyntheticImage({ file: 5 * CHUNK }, CHUNK);
  Deno.writeFileSync(temp.join("image.boot"), bytes);
  using file = open(temp.join("image.boot"), O.RDONLY);
  using mapping = Mapping.ofFile(file, bytes.length);
  const image = { name: "image", bootstrap: mapping };
  const path = imagePath(temp.path, image);
  const devices = devicesOf(openBootstrap(bytes));
  assert.deepEqual(await recomputeDevices(image, temp.path), { devices, isDamaged: false });
  assert.deepEqual([...Deno.readDirSync(temp.path)].map(({ name }) => name), ["image.boot"], "no file is created");
  await keepImage(makeSyntheticImage({ file: 6 * CHUNK }, CHUNK).bootstrap, path);
  assert.deepEqual(await recomputeDevices(image, temp.path), { devices, isDamaged: true });
  await keepImage(bytes, path);
  assert.deepEqual(await recomputeDevices(image, temp.path), { devices, isDamaged: false });
  const kept = Deno.readFileSync(path);
  Deno.writeFileSync(path, kept.with(kept.length - 96 + 8, 77)); // the number of its layout
  assert.deepEqual(await recomputeDevices(image, temp.path), { devices, isDamaged: false });
  Deno.removeSync(path);
  Deno.mkdirSync(path);
  assert.deepEqual(await recomputeDevices(image, temp.path), { devices, isDamaged: false });
  Deno.removeSync(path);
  Deno.writeFileSync(path, kept);
  Deno.truncateSync(path, 5);
  assert.deepEqual(await recomputeDevices(image, temp.path), { devices, isDamaged: true });
});
