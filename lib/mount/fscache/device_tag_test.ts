import assert from "node:assert/strict";
import { chunkColumnsFromRecords } from "../../rafs/chunk_records.ts";
import { DeviceBuilder, type DeviceTable } from "../../rafs/device_table.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { makeSyntheticImage } from "../../../tests/support/synthetic_image.ts";
import { deviceSize, deviceTag } from "./device_tag.ts";

const BLOCK = 4096;

/** The device of an image that uses these chunks. */
function tableOf(...chunks: (readonly [index: number, offset: number, length: number])[]): DeviceTable {
  const builder = new DeviceBuilder(0);
  for (const [chunkIndex, chunkOffset, chunkLength] of chunks) {
    builder.add(chunkIndex, chunkOffset, chunkLength);
  }
  return builder.finish();
}

Deno.test("a device is named by its blob, whatever part of it an image uses, and has its size", () => {
  const tree = openBootstrap(makeSyntheticImage({ file: 3 * BLOCK + 1 }, BLOCK).bootstrap);
  const [descriptor] = tree.blobs;
  assert.ok(descriptor);
  const chunks = chunkColumnsFromRecords(descriptor, tree.chunkRecords());
  for (const table of [tableOf([0, 0, BLOCK]), tableOf([1, BLOCK, BLOCK], [2, 2 * BLOCK, BLOCK])]) {
    assert.equal(deviceTag({ id: "blob" }, table), "blob");
    assert.equal(deviceTag({ id: "blob", copiesId: "as described" }, table), "as described");
    assert.equal(deviceSize(table, chunks), 4 * BLOCK);
  }
});

Deno.test("where chunks are packed a device is named by their places, too", () => {
  const table = tableOf([0, 0, 5], [1, 5, BLOCK]);
  const tag = deviceTag({ id: "blob" }, table);
  assert.match(tag, /^[0-9a-f]{64}$/);
  assert.equal(deviceTag({ id: "blob" }, tableOf([0, 0, 5], [1, 5, BLOCK])), tag);
  assert.notEqual(deviceTag({ id: "another" }, table), tag);
  assert.notEqual(deviceTag({ id: "blob" }, tableOf([1, 5, BLOCK])), tag);
  assert.notEqual(deviceTag({ id: "blob" }, tableOf([0, 0, 5], [1, 5, BLOCK - 1])), tag);
});
