import assert from "node:assert/strict";
import fc from "fast-check";
import { checkImageNumber, devicesNumber, IMAGE_LIMIT, imageOf, INO_LIMIT, inoOf, nodeId } from "./node_id.ts";

Deno.test("a node id encodes image and inode, and is never that of the root", () => {
  const image = fc.integer({ min: 1, max: IMAGE_LIMIT - 1 });
  const ino = fc.integer({ min: 0, max: INO_LIMIT - 1 });
  fc.assert(fc.property(image, ino, (image, ino) => {
    const node = nodeId(image, ino);
    assert.deepEqual([imageOf(node), inoOf(node)], [image, ino]);
    assert.ok(node > 1n && node < 1n << 64n);
    assert.ok(nodeId(devicesNumber(image), ino) > nodeId(IMAGE_LIMIT - 1, INO_LIMIT - 1));
    assert.ok(nodeId(devicesNumber(image), ino) < 1n << 64n);
  }));
});

Deno.test("numbers that exceed a node id are refused", () => {
  assert.throws(() => nodeId(1, INO_LIMIT), RangeError);
  assert.throws(() => nodeId(1, -1), RangeError);
  for (const image of [0, -1, 1.5, IMAGE_LIMIT, Number.NaN]) assert.throws(() => checkImageNumber(image), RangeError);
});
