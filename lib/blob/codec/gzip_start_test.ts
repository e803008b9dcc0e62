import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { GzipStarts } from "../../rafs/blob/chunk_table.ts";
import { inflateSlice } from "./gzip_start.ts";

const shared = (bytes: number) => new SharedArrayBuffer(bytes);

/** A single start, right after the gzip header. */
function atBeginning(): GzipStarts {
  return {
    windows: new Uint8Array(shared(0)),
    windowOffset: new Float64Array(shared(8)),
    windowSize: new Uint32Array(shared(4)),
    bits: new Uint8Array(shared(1)),
    bitValue: new Uint8Array(shared(1)),
  };
}

const HEADER = 10;

/** A member whose header has every optional field. RFC 1952, 2.3. */
function decorated(member: Uint8Array): Uint8Array {
  const text = new TextEncoder();
  const flags = 2 | 4 | 8 | 16;
  return new Uint8Array([
    ...member.subarray(0, 3),
    flags,
    ...member.subarray(4, HEADER),
    ...[3, 0, 1, 2, 3],
    ...text.encode("name\0comment\0"),
    ...[0, 0],
    ...member.subarray(HEADER),
  ]);
}

Deno.test("a slice continues into the next gzip member, whatever optional header fields that has", () => {
  const [first, second] = [new Uint8Array(randomBytes(5000)), new Uint8Array(70_000).map((_, k) => k >> 5)];
  const layer = new Uint8Array([...gzipSync(first), ...decorated(gzipSync(second)), ...gzipSync(new Uint8Array(10))]);
  const whole = new Uint8Array([...first, ...second]);
  for (const size of [1, 4999, 5000, 5001, whole.length]) {
    const plain = new Uint8Array(size);
    assert.equal(inflateSlice(atBeginning(), 0, layer.subarray(HEADER), plain), size);
    assert.deepEqual(plain, whole.subarray(0, size));
  }
});

Deno.test("a short slice yields the bytes that it has, and a damaged one is an error", () => {
  const data = new Uint8Array(randomBytes(5000));
  const layer = new Uint8Array([...gzipSync(data), ...gzipSync(data)]);
  const plain = new Uint8Array(10_000);
  const written = inflateSlice(atBeginning(), 0, layer.subarray(HEADER, 3000), plain);
  assert.ok(written > 2000 && written < 3000);
  assert.deepEqual(plain.subarray(0, written), data.subarray(0, written));
  const end = layer.length / 2;
  assert.throws(() => inflateSlice(atBeginning(), 0, layer.subarray(HEADER, end), plain), /a gzip member is missing/);
  const damaged = layer.slice(HEADER);
  damaged.fill(0xff, 0, 20);
  assert.throws(() => inflateSlice(atBeginning(), 0, damaged, plain), /^ZlibError: Cannot inflate: /);
});

Deno.test("a slice may begin at the trailer of the member before it", () => {
  const [first, second] = [new Uint8Array(randomBytes(5000)), new Uint8Array(70_000).map((_, k) => k >> 5)];
  for (const member of [gzipSync(second), decorated(gzipSync(second))]) {
    const before = gzipSync(first);
    const layer = new Uint8Array([...before, ...member, ...gzipSync(first)]);
    for (const bits of [0, 3]) { // unused ones of the last byte before the trailer
      const starts = atBeginning();
      starts.bits[0] = bits;
      const plain = new Uint8Array(second.length + 100);
      assert.equal(inflateSlice(starts, 0, layer.subarray(before.length - 8), plain), plain.length);
      assert.deepEqual(plain, new Uint8Array([...second, ...first.subarray(0, 100)]));
    }
  }
});

Deno.test("a slice that only looks as if it began at a trailer is inflated from its first byte", () => {
  const data = new Uint8Array(randomBytes(5000));
  data.set([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], 3); // after the 5 bytes before stored data
  const layer = gzipSync(data, { level: 0 });
  const plain = new Uint8Array(data.length);
  assert.equal(layer[HEADER + 8], 0x1f);
  assert.equal(inflateSlice(atBeginning(), 0, layer.subarray(HEADER), plain), plain.length);
  assert.deepEqual(plain, data);
});
