import assert from "node:assert/strict";
import fc from "fast-check";
import type { Extent } from "../bootstrap.ts";
import { DEVICE_BLOCK, DeviceBuilder, deviceExtents, deviceOffsetOf, type DeviceTable, HOLE } from "./device_table.ts";

/** A chunk as referred to by files. */
function chunk(chunkIndex: number, chunkOffset: number, chunkLength: number): Extent {
  return {
    fileOffset: 0,
    blobIndex: 0,
    chunkIndex,
    chunkOffset,
    chunkLength,
    blobOffset: chunkOffset,
    length: chunkLength,
  };
}

function tableOf(chunks: readonly Extent[]): DeviceTable {
  return built(chunks).table;
}

/** The device, and the offset of each chunk in it by chunk index. */
function built(chunks: readonly Extent[]): { table: DeviceTable; placeOf: (chunkIndex: number) => number | undefined } {
  const builder = new DeviceBuilder(0);
  const rows = new Map(
    chunks.map((each) => [each.chunkIndex, builder.add(each.chunkIndex, each.chunkOffset, each.chunkLength)]),
  );
  const table = builder.finish();
  return { table, placeOf: (chunkIndex) => builder.offsetOf(rows.get(chunkIndex) ?? -1) };
}

/** Consecutive chunks with gaps, added in another order, some of them twice. */
const chunks = fc.array(fc.tuple(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 0, max: 5000 })), {
  maxLength: 20,
})
  .map((pairs) => {
    let offset = 0;
    return pairs.map(([length, gap], index) => {
      const made = chunk(index, offset, length);
      offset += length + gap;
      return made;
    });
  })
  .chain((made) => fc.shuffledSubarray([...made, ...made], { minLength: made.length * 2 }));

Deno.test("the extents of a device cover every range without a gap, and map back to the chunks", () => {
  fc.assert(fc.property(chunks, fc.nat(100_000), fc.nat(50_000), (made, offset, length) => {
    const { table, placeOf } = built(made);
    let at = offset;
    for (const extent of deviceExtents(table, offset, length)) {
      assert.equal(extent.fileOffset, at);
      assert.ok(extent.length > 0);
      at += extent.length;
      if (extent.blobIndex === HOLE) continue;
      const { chunkOffset, chunkLength, blobOffset, fileOffset } = extent;
      assert.ok(made.some((one) => one.chunkIndex === extent.chunkIndex && one.chunkOffset === chunkOffset));
      assert.ok(blobOffset >= chunkOffset && blobOffset + extent.length <= chunkOffset + chunkLength);
      assert.equal(fileOffset - (blobOffset - chunkOffset), placeOf(extent.chunkIndex));
    }
    assert.equal(at, Math.max(offset, Math.min(offset + length, table.sizeBytes)));
  }));
});

Deno.test("every chunk begins at a block of its own", () => {
  fc.assert(fc.property(chunks, (made) => {
    const table = tableOf(made);
    let free = 0;
    for (let row = 0; row < table.count; row++) {
      const at = deviceOffsetOf(table, row);
      assert.ok(at % DEVICE_BLOCK === 0 && at >= free);
      free = at + (table.length[row] as number);
    }
    assert.ok(table.sizeBytes % DEVICE_BLOCK === 0 && table.sizeBytes >= Math.max(free, DEVICE_BLOCK));
  }));
});

Deno.test("if chunks begin at block boundaries already, the device is the cache file", () => {
  const table = tableOf([chunk(3, 8192, 5000), chunk(1, 0, 100)]);
  assert.ok(table.identical);
  assert.deepEqual([...table.block], [0, 2]);
  assert.equal(table.sizeBytes, 16384);
  assert.ok(!tableOf([chunk(0, 0, 100), chunk(1, 100, 100)]).identical);
});

Deno.test("contradictory statements about a chunk or a place are refused", () => {
  const refused = (...made: Extent[]) =>
    assert.throws(() => tableOf(made), /Cannot read chunk 1 of blob 0 at \d+: it contradicts chunk/);
  refused(chunk(1, 0, 100), chunk(1, 4096, 100));
  refused(chunk(1, 0, 100), chunk(1, 0, 99));
  refused(chunk(0, 0, 4097), chunk(1, 4096, 100));
});
