import assert from "node:assert/strict";
import fc from "fast-check";
import { zstdCompressSync } from "node:zlib";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { zstdCompress, zstdDecompress, zstdDecompressOffThread, ZstdError } from "./libzstd.ts";

Deno.test("a hand-written frame decompresses", () => {
  const frame = goldenBytes(`
    28 b5 2f fd   magic
    20            frame header: single segment, 1-byte content size
    05            content size 5
    29 00 00      last block, raw, 5 bytes
    68 65 6c 6c 6f
  `);
  const out = new Uint8Array(5);
  assert.equal(zstdDecompress(frame, out), 5);
  assert.equal(new TextDecoder().decode(out), "hello");
});

Deno.test("compressed data decompresses to the original, at every level, also into shared memory", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), fc.constantFrom(0, 1, 3, 12), (bytes, level) => {
      const out = new Uint8Array(new SharedArrayBuffer(bytes.length));
      assert.equal(zstdDecompress(zstdCompress(bytes, level), out), bytes.length);
      assert.ok(bytes.every((byte, i) => byte === out[i]));
    }),
    { numRuns: 40 },
  );
});

Deno.test("another thread decompresses the same bytes, several frames at a time, and reports damage", async () => {
  const plain = Array.from({ length: 4 }, (_, k) => new Uint8Array(300_000).map((_, i) => i * k % 251));
  const frames = plain.map((bytes) => zstdCompress(bytes, 3));
  const out = await Promise.all(frames.map(async (frame) => {
    const bytes = new Uint8Array(300_000);
    assert.equal(await zstdDecompressOffThread(frame, bytes), bytes.length);
    return bytes;
  }));
  assert.deepEqual(out, plain);
  const cut = (frames[3] as Uint8Array).subarray(0, -1);
  await assert.rejects(() => zstdDecompressOffThread(cut, new Uint8Array(300_000)), ZstdError);
});

Deno.test("concatenated frames of another implementation decompress", () => {
  const part = new Uint8Array(70000).map((_, i) => i % 251);
  const frame = zstdCompressSync(part);
  const out = new Uint8Array(140000);
  assert.equal(zstdDecompress(new Uint8Array([...frame, ...frame]), out), 140000);
  assert.deepEqual(out.subarray(70000), part);
});

Deno.test("a frame larger than its output buffer is an error, and nothing is written beyond the buffer", () => {
  const frame = zstdCompress(new Uint8Array(100000).fill(7), 3);
  const out = new Uint8Array(100000);
  assert.throws(() => zstdDecompress(frame, out.subarray(0, 99999)), {
    message: /^Cannot decompress zstd: .*too small/,
  });
  assert.equal(out[99999], 0);
});

Deno.test("damage is reported, and the context can be used again afterwards", () => {
  const frame = zstdCompress(new Uint8Array(1000).map((_, i) => i), 3);
  const out = new Uint8Array(1000);
  assert.throws(() => zstdDecompress(frame.subarray(0, -1), out), ZstdError);
  assert.throws(() => zstdDecompress(new Uint8Array(16), out), {
    message: "Cannot decompress zstd: Unknown frame descriptor",
  });
  assert.equal(zstdDecompress(frame, out), 1000);
});

Deno.test("mutated frames are refused or stay within the output buffer", () => {
  const frame = zstdCompress(new Uint8Array(400).map((_, i) => i * i), 3);
  fc.assert(fc.property(fc.nat(frame.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
    const damaged = frame.slice();
    damaged[at] = (damaged[at] ?? 0) ^ flip;
    const memory = new Uint8Array(600);
    try {
      assert.ok(zstdDecompress(damaged, memory.subarray(100, 500)) <= 400);
    } catch (error) {
      assert.ok(error instanceof ZstdError, String(error));
    }
    assert.ok(memory.subarray(0, 100).every((byte) => byte === 0));
    assert.ok(memory.subarray(500).every((byte) => byte === 0));
  }));
});
