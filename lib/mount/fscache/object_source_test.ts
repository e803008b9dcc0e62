import assert from "node:assert/strict";
import { MountableSynthetic, patternByte } from "../../../tests/support/mount/mountable_synthetic.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { devicesOf } from "../../rafs/erofs/erofs_image.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { DeviceSource, type DeviceUse } from "./object_source.ts";

const CHUNK = 16 << 10;
const BLOCK = 4096;
const { signal } = new AbortController();

/** The device of an image with one file, behind another file if that has bytes: then chunks are packed. */
async function useOf(image: MountableSynthetic): Promise<DeviceUse> {
  const [table] = devicesOf(openBootstrap(image.mapping.bytes));
  assert.ok(table);
  const blob = await image.open();
  return { known: { number: 1, image: image.image, blobs: [blob] }, table, blob };
}

Deno.test("a range is widened to its chunks and cached ones after it, and padded when read", async () => {
  using temp = TempDir.make();
  using image = new MountableSynthetic(temp.path, "image", { file: 3 * CHUNK + 100 }, CHUNK);
  const use = await useOf(image);
  const source = new DeviceSource(use.table.sizeBytes);
  source.add(use);
  const first = { offset: CHUNK + BLOCK, length: BLOCK };
  assert.deepEqual(source.widened(first, 1 << 20), { offset: CHUNK, length: CHUNK });
  assert.deepEqual(source.widened(first, BLOCK), first, "a range is not widened to a chunk above the limit");
  const out = new Uint8Array(BLOCK);
  await source.read(3 * CHUNK, out, signal);
  assert.deepEqual(out, Uint8Array.from(out, (_, i) => i < 100 ? patternByte(3 * CHUNK + i) : 0));
  assert.deepEqual(image.fetched, [3]);
  const last = { offset: 2 * CHUNK, length: BLOCK };
  assert.deepEqual(source.widened(last, 1 << 20), { offset: 2 * CHUNK, length: CHUNK + BLOCK });
});

Deno.test("a range outside the chunks of images in use is not read", async () => {
  using temp = TempDir.make();
  using image = new MountableSynthetic(temp.path, "image", { file: CHUNK + 100 }, CHUNK);
  const use = await useOf(image);
  const source = new DeviceSource(4 * CHUNK);
  source.add(use);
  const notFound = (error: unknown) => hasCode(error, "not-found");
  await assert.rejects(source.read(2 * CHUNK, new Uint8Array(BLOCK), signal), notFound);
  await assert.rejects(source.read(CHUNK, new Uint8Array(2 * BLOCK), signal), notFound);
  await source.read(CHUNK, new Uint8Array(BLOCK), signal);
  assert.equal(source.remove(use), false);
  await assert.rejects(source.read(CHUNK, new Uint8Array(BLOCK), signal), notFound);
});
