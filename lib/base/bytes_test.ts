import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  compareBytes,
  concatenate,
  copyBytes,
  equalBytes,
  fromByteString,
  lengthOf,
  readU16,
  readU32,
  readU64,
  roundUp,
  toByteString,
  writeU16,
  writeU32,
  writeU64,
} from "./bytes.ts";

const bytes = fc.uint8Array({ maxLength: 200 });

Deno.test("numbers are written as by DataView, and read back", () => {
  fc.assert(fc.property(fc.nat(0xffff), fc.nat(0xffff_ffff), fc.maxSafeNat(), (u16, u32, u64) => {
    const [ours, theirs] = [new DataView(new ArrayBuffer(14)), new DataView(new ArrayBuffer(14))];
    writeU16(ours, 0, u16);
    writeU32(ours, 2, u32);
    writeU64(ours, 6, u64);
    theirs.setUint16(0, u16, true);
    theirs.setUint32(2, u32, true);
    theirs.setBigUint64(6, BigInt(u64), true);
    assert.deepEqual(ours, theirs);
    assert.deepEqual([readU16(ours, 0), readU32(ours, 2), readU64(ours, 6)], [u16, u32, u64]);
  }));
});

Deno.test("a u64 that is no safe integer is refused", () => {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, 2n ** 53n - 1n, true);
  assert.equal(readU64(view, 0), Number.MAX_SAFE_INTEGER);
  for (const value of [2n ** 53n, 2n ** 64n - 1n]) {
    view.setBigUint64(0, value, true);
    assert.throws(() => readU64(view, 0), RangeError);
  }
});

Deno.test("bytes are compared as by memcmp, a prefix first", () => {
  fc.assert(fc.property(bytes, bytes, (a, b) => {
    assert.equal(Math.sign(compareBytes(a, b)), Buffer.compare(a, b));
    assert.equal(equalBytes(a, b), Buffer.compare(a, b) === 0);
    assert.ok(equalBytes(a, a.slice()));
  }));
});

Deno.test("parts are copied and joined in order", () => {
  fc.assert(fc.property(fc.array(bytes, { maxLength: 5 }), (parts) => {
    assert.deepEqual(concatenate(parts), new Uint8Array(Buffer.concat(parts)));
    assert.equal(lengthOf(parts), Buffer.concat(parts).length);
  }));
  fc.assert(fc.property(bytes, fc.nat(50), fc.nat(20), (from, start, at) => {
    const size = Math.max(0, from.length - start);
    const to = new Uint8Array(at + size + 1).fill(7);
    copyBytes(from, start, size, to, at);
    assert.deepEqual(to, concatenate([new Uint8Array(at).fill(7), from.slice(start), Uint8Array.of(7)]));
  }));
});

Deno.test("a byte string has each byte as a character, however long it is", () => {
  for (const length of [0, 256, 8192, 8193, 20_000]) {
    const all = Uint8Array.from({ length }, (_, i) => i * 31);
    assert.equal(toByteString(all), Buffer.from(all).toString("latin1"));
    assert.deepEqual(fromByteString(toByteString(all)), all);
  }
});

Deno.test("sizes beyond 32 bits are rounded up exactly", () => {
  const cases: [value: number, unit: number, rounded: number][] = [
    [0, 512, 0],
    [1, 512, 512],
    [512, 512, 512],
    [2 ** 40 + 1, 4096, 2 ** 40 + 4096],
  ];
  for (const [value, unit, rounded] of cases) assert.equal(roundUp(value, unit), rounded);
});
