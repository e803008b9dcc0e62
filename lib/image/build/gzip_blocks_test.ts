import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { noise } from "../../../tests/support/image/convert_kit.ts";
import { concatenate } from "../../base/bytes.ts";
import { deflateBlock, packBlocks, packHere } from "./gzip_blocks.ts";

const BLOCK = 256 << 10;

async function packed(parts: Iterable<Uint8Array>): Promise<Uint8Array> {
  return concatenate(await packHere(parts));
}

Deno.test("data of any size is one gzip member that other programs unpack", async () => {
  for (const size of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]) {
    const data = noise(size, size + 1);
    const bytes = await packed([data]);
    assert.deepEqual(new Uint8Array(gunzipSync(bytes)), data);
    // unlike gunzipSync, it reads the first member only
    const whole = new Blob([new Uint8Array(bytes)]).stream().pipeThrough(new DecompressionStream("gzip"));
    assert.deepEqual(await new Response(whole).bytes(), data);
    const gzip = new Deno.Command("gzip", { args: ["-dc"], stdin: "piped", stdout: "piped" }).spawn();
    const [{ success, stdout }] = await Promise.all([gzip.output(), writeTo(gzip.stdin, bytes)]);
    assert.ok(success);
    assert.deepEqual(stdout, data);
  }
});

async function writeTo(stream: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stream.getWriter();
  await writer.write(bytes);
  await writer.close();
}

Deno.test("the output does not depend on the sizes of the parts, nor on which thread deflates a block", async () => {
  const data = noise(5 * BLOCK + 100, 3);
  const expected = await packed([data]);
  const cut = Array.from({ length: Math.ceil(data.length / 999) }, (_, k) => data.subarray(k * 999, (k + 1) * 999));
  assert.deepEqual(await packed(cut), expected);
  let blocks = 0;
  const parts = await packBlocks(cut, (block, sizeBytes) => {
    if (blocks++ % 2 === 0) return undefined;
    const deflated = deflateBlock(block.slice(0, sizeBytes));
    const room = new Uint8Array(block.buffer.transfer());
    return new Promise((resolve) => setTimeout(() => resolve({ deflated, room: room.fill(0xaa) }), 5 - blocks));
  });
  assert.deepEqual(concatenate(parts), expected);
});
