import assert from "node:assert/strict";
import fc from "fast-check";
import { zstdCompressSync } from "node:zlib";
import { concatenate } from "../lib/base/bytes.ts";
import { ZstdError } from "./libzstd.ts";
import { zstdStream } from "./libzstd_stream.ts";

/** Splits bytes into pieces of `size` bytes. */
async function* cut(bytes: Uint8Array<ArrayBuffer>, size: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.slice(at, at + size));
}

async function plainOf(stored: Uint8Array<ArrayBuffer>, size: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of zstdStream(cut(stored, size))) pieces.push(piece.slice());
  return concatenate(pieces);
}

/** Skippable frame, RFC 8878, 3.1.2. */
function skippable(length: number): Uint8Array {
  const header = new DataView(new ArrayBuffer(8 + length));
  header.setUint32(0, 0x184d2a53, true);
  header.setUint32(4, length, true);
  return new Uint8Array(header.buffer);
}

Deno.test("concatenated frames are decompressed whatever the input pieces, skippable frames are ignored", async () => {
  const parts = fc.array(fc.tuple(fc.nat({ max: 600_000 }), fc.boolean()), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(parts, fc.integer({ min: 1, max: 300_000 }), async (frames, size) => {
      const plain = frames.map(([length], k) => new Uint8Array(length).map((_, i) => (i * (k + 3) + (i >> 9)) & 0xff));
      const stored = concatenate(plain.flatMap((part, k) => [
        zstdCompressSync(part),
        frames[k]?.[1] ? skippable(k * 40) : new Uint8Array(0),
      ]));
      assert.deepEqual(await plainOf(stored, Math.max(size, stored.length >> 8)), concatenate(plain));
    }),
    { numRuns: 30 },
  );
});

Deno.test("a frame that ends exactly with the input, and an empty frame, end correctly", async () => {
  for (const length of [0, 256 << 10, 512 << 10]) {
    assert.equal((await plainOf(new Uint8Array(zstdCompressSync(new Uint8Array(length))), 100)).length, length);
  }
});

Deno.test("truncated input and input that is not a frame are errors", async () => {
  const frame = new Uint8Array(zstdCompressSync(new Uint8Array(1000).map((_, i) => (i * 7) & 0xff)));
  for (
    const bytes of [frame.slice(0, -1), frame.slice(0, 5), concatenate([frame, new Uint8Array(10)]), frame.with(0, 0)]
  ) {
    await assert.rejects(plainOf(bytes, 64), ZstdError);
  }
});

Deno.test("a window above the limit and a missing dictionary are told from damage", async () => {
  const magic = [0x28, 0xb5, 0x2f, 0xfd], block = [0x21, 0, 0, 1, 2, 3, 4]; // the last block, four bytes as they are
  const [windowLog29, windowLog30] = [19 << 3, 20 << 3];
  assert.equal((await plainOf(Uint8Array.of(...magic, 0, windowLog29, ...block), 64)).length, 4);
  const isUnsupported = (bytes: Uint8Array<ArrayBuffer>) =>
    plainOf(bytes, 64).then(() => "decompressed", (error) => error instanceof ZstdError && error.isUnsupported);
  assert.equal(await isUnsupported(Uint8Array.of(...magic, 0, windowLog30, ...block)), true);
  assert.equal(await isUnsupported(Uint8Array.of(...magic, 1, windowLog29, 7, ...block)), true); // dictionary 7
  assert.equal(await isUnsupported(Uint8Array.of(...magic, 8, windowLog29, ...block)), true); // a reserved bit
  assert.equal(await isUnsupported(Uint8Array.of(...magic, 0, windowLog29, 0x07, 0, 0)), false); // a reserved block type
});
