import assert from "node:assert/strict";
import { chunkColumnsFromRecords } from "../../rafs/blob/chunk_records.ts";
import { DeviceBuilder, type DeviceTable } from "../../rafs/erofs/device_table.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { makeSyntheticImage } from "../../../tests/support/rafs/synthetic_image.ts";
import { deviceSize, deviceTag } from "./device_tag.ts";

const BLOCK = 4096;

/** Returns the device of an image that uses these chunks. */
function tableOf(...chunks: (readonly [index: number, offset: number, length: number])[]): DeviceTable {
  const builder = new DeviceBuilder(0);
  for (const [chunkIndex, chunkOffset, chunkLength] of chunks) {
    builder.add(chunkIndex, chunkOffset, chunkLength);
  }
  return builder.finish();
}

Deno.test("the tag of a device depends on the name of its blob's copies, not on the chunks an image uses", () => {
  const tree = openBootstrap(makeSyntheticImage({ file: 3 * BLOCK + 1 }, BLOCK).bootstrap);
  const [descriptor] = tree.blobs;
  assert.ok(descriptor);
  const chunks = chunkColumnsFromRecords(descriptor, tree.chunkRecords());
  const tables = [tableOf([0, 0, BLOCK]), tableOf([1, BLOCK, BLOCK], [2, 2 * BLOCK, BLOCK])];
  const tags = tables.map((table) => {
    assert.equal(deviceSize(table, chunks), 4 * BLOCK);
    return deviceTag("copies", table, 4 * BLOCK);
  });
  const [tag = "", other] = tags;
  assert.match(tag, /^[0-9a-f]{64}$/);
  assert.equal(other, tag);
  const [table = assert.fail()] = tables;
  assert.notEqual(deviceTag("other copies", table, 4 * BLOCK), tag);
  assert.notEqual(deviceTag("copies", table, 5 * BLOCK), tag);
});

Deno.test("the tag of a device with packed chunks depends on their places as well", () => {
  const tagOf = (copies: string, table: DeviceTable) => deviceTag(copies, table, table.sizeBytes);
  const tag = tagOf("copies", tableOf([0, 0, 5], [1, 5, BLOCK]));
  assert.equal(tagOf("copies", tableOf([0, 0, 5], [1, 5, BLOCK])), tag);
  assert.notEqual(tagOf("other copies", tableOf([0, 0, 5], [1, 5, BLOCK])), tag);
  assert.notEqual(tagOf("copies", tableOf([1, 5, BLOCK])), tag);
  assert.notEqual(tagOf("copies", tableOf([0, 0, 5], [1, 5, BLOCK - 1])), tag);
});
