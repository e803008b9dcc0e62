import assert from "node:assert/strict";
import { goldenBytes } from "../../../tests/support/golden_bytes.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { ChunkMap } from "./chunk_map.ts";

const HEADER = goldenBytes(`
  50 41 4d 42   magic
  01 00 00 00   version
  50 41 4d 43   magic2
  00 00 00 00   all ready
`);

function mapBytes(header: Uint8Array, ...bits: number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4096 + bits.length);
  bytes.set(header);
  bytes.set(bits, 4096);
  return bytes;
}

async function withMap(
  content: Uint8Array | undefined,
  count: number,
  test: (map: ChunkMap, path: string) => Promise<void> | void,
): Promise<void> {
  using dir = TempDir.make();
  const path = dir.join("x.blob.data.chunk_map");
  if (content !== undefined) Deno.writeFileSync(path, content);
  using map = ChunkMap.open(path, count);
  await test(map, path);
}

Deno.test("a new map has nydusd's header and no bit set", () =>
  withMap(undefined, 17, (_map, path) => {
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0, 0, 0));
  }));

Deno.test("bits are written most significant first, and read back", () =>
  withMap(undefined, 24, async (map, path) => {
    map.claim([3, 8, 22, 23]);
    await map.sync();
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0x10, 0x80, 0x03));
    using again = ChunkMap.open(path, 24);
    assert.deepEqual(again.bits, new Uint8Array([0x10, 0x80, 0x03]));
  }));

Deno.test("bits set in any order reach the file", () =>
  withMap(undefined, 80, (map, path) => {
    map.claim([79, 0, 40, 41, 0]);
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0x80, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0x01));
  }));

Deno.test("a cleared bit is cleared in the file, and it is told whether any was set", () =>
  withMap(mapBytes(HEADER, 0xff), 8, (map, path) => {
    assert.equal(map.disclaim([1]), true);
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0xbf));
    assert.equal(map.disclaim([1]), false);
    assert.equal(map.disclaim([1, 2]), true);
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0x9f));
  }));

Deno.test("the all-ready word stands for every chunk until a bit is cleared", () => {
  const header = HEADER.slice();
  header.set([0x50, 0x41, 0x4d, 0x4d], 12);
  return withMap(mapBytes(header, 0, 0), 10, (map, path) => {
    assert.deepEqual(map.bits, new Uint8Array([0xff, 0xc0]));
    map.disclaim([9]);
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0xff, 0x80));
  });
});

Deno.test("a version 0 map has neither magic2 nor the all-ready word", () =>
  withMap(mapBytes(goldenBytes("50 41 4d 42 00 00 00 00 00 00 00 00 50 41 4d 4d"), 0x40), 2, (map) => {
    assert.deepEqual(map.bits, new Uint8Array([0x40]));
  }));

Deno.test("a file of zeros gets its header: its creator was interrupted", () =>
  withMap(mapBytes(new Uint8Array(0), 0), 5, (_map, path) => {
    assert.deepEqual(Deno.readFileSync(path), mapBytes(HEADER, 0));
  }));

for (
  const [what, content, message] of [
    ["a longer map", mapBytes(HEADER, 0, 0), /chunk map ".*" at 0: it has 4098 bytes, expected 4097 for 5 chunks/],
    ["a cut map", new Uint8Array(100), /it has 100 bytes, expected 4097/],
    ["another magic", mapBytes(new Uint8Array([1]), 0), /at 0: magic is 0x1, expected 0x424d4150/],
    ["bits without a header", mapBytes(new Uint8Array(0), 1), /at 0: magic is 0x0/],
    ["a header without its magic", mapBytes(new Uint8Array(4095).fill(1, 8), 0), /at 0: magic is 0x0/],
    ["another magic2", mapBytes(HEADER.subarray(0, 8), 0), /at 8: magic2 is 0x0, expected 0x434d4150/],
  ] as const
) {
  Deno.test(`${what} is refused with its offset`, () => {
    using dir = TempDir.make();
    Deno.writeFileSync(dir.join("map"), content);
    assert.throws(
      () => ChunkMap.open(dir.join("map"), 5),
      (error) => hasCode(error, "corrupt") && error instanceof Error && message.test(error.message),
    );
  });
}
