import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { constants, createDeflateRaw, deflateRawSync, gzipSync } from "node:zlib";
import { Buffer } from "node:buffer";
import { gunzip, Inflate, WINDOW_BYTES, ZlibError } from "./libz.ts";

const NOTHING = new Uint8Array(0);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Final block with fixed codes that encodes "hi", after `phase` bits of other data. RFC 1951, 3.2.6. */
function blockAtPhase(phase: number): Uint8Array {
  const msbFirst = (value: number, bits: number) =>
    Array.from({ length: bits }, (_, k) => (value >> (bits - 1 - k)) & 1);
  const literal = (letter: string) => msbFirst(0x30 + letter.charCodeAt(0), 8);
  const bits = [...Array(phase).fill(1), 1, 1, 0, ...literal("h"), ...literal("i"), ...msbFirst(0, 7)];
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, k) => bytes[k >> 3] = (bytes[k >> 3] as number) | (bit << (k & 7)));
  return bytes;
}

Deno.test("a deflate block that begins at any bit offset is inflated", () => {
  for (let phase = 1; phase < 8; phase++) {
    const bytes = blockAtPhase(phase);
    using inflate = Inflate.open();
    inflate.begin(NOTHING, 8 - phase, (bytes[0] as number) >> phase);
    const out = new Uint8Array(2);
    const { read, written } = inflate.run(bytes.subarray(1), out);
    assert.deepEqual([text(out), read <= bytes.length - 1, written], ["hi", true, 2]);
  }
});

/** A deflate stream, and the offset at which `second` begins, at a byte boundary. */
async function streamOf(first: Uint8Array, second: Uint8Array): Promise<{ stream: Uint8Array; place: number }> {
  const deflate = createDeflateRaw();
  const pieces: Uint8Array[] = [];
  deflate.on("data", (piece: Uint8Array) => pieces.push(piece));
  deflate.write(first);
  await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
  const place = pieces.reduce((sum, { length }) => sum + length, 0);
  deflate.end(second);
  await once(deflate, "end");
  return { stream: new Uint8Array(Buffer.concat(pieces)), place };
}

Deno.test("back-references reach into the window before the starting point", async () => {
  const window = new Uint8Array(randomBytes(32_000));
  const { stream, place } = await streamOf(window, window.subarray(100, 20_100));
  assert.ok(stream.length - place < 1000);
  using inflate = Inflate.open();
  inflate.begin(window, 0, 0);
  const out = new Uint8Array(20_000);
  const rest = stream.subarray(place);
  assert.deepEqual(inflate.run(rest, out), { read: rest.length, written: 20_000, ended: true });
  assert.deepEqual(out, window.slice(100, 20_100));
  inflate.begin(NOTHING, 0, 0);
  assert.throws(() => inflate.run(rest, out), (error) => {
    assert.ok(error instanceof ZlibError);
    assert.equal(error.message, "Cannot inflate: invalid distance too far back");
    return true;
  });
});

Deno.test("a stream inflates to the same bytes whatever the sizes of input pieces and output buffers", () => {
  const plain = new Uint8Array(100_000).map((_, k) => (k * k) >> 7);
  const stream = deflateRawSync(plain);
  using inflate = Inflate.open();
  inflate.begin(NOTHING, 0, 0);
  const out = new Uint8Array(plain.length + 5);
  let at = 0, filled = 0, ended = false;
  for (let step = 1; !ended; step = step * 7 % 997) {
    const result = inflate.run(stream.subarray(at, at + step), out.subarray(filled, filled + 3 * step));
    at += result.read;
    filled += result.written;
    ended = result.ended;
  }
  assert.deepEqual([at, filled], [stream.length, plain.length]);
  assert.deepEqual(out.subarray(0, filled), plain);
});

Deno.test("gzip inflates into a buffer of exactly its size, and damage is detected", () => {
  const plain = new Uint8Array(randomBytes(5000));
  const stored = gzipSync(plain);
  const out = new Uint8Array(plain.length);
  assert.equal(gunzip(stored, out), plain.length);
  assert.deepEqual(out, plain);
  assert.equal(gunzip(stored, new Uint8Array(6000)), plain.length);
  assert.throws(() => gunzip(stored, new Uint8Array(4999)), /Cannot inflate: no end after \d+ and 4999 bytes/);
  assert.throws(() => gunzip(stored.subarray(0, -1), out), /Cannot inflate: no end/);
  stored[stored.length - 6] = (stored[stored.length - 6] as number) ^ 1;
  assert.throws(() => gunzip(stored, out), /Cannot inflate: incorrect data check/);
});

Deno.test("inflating stops at each block of a gzip member, and goes on from any of them", () => {
  const plain = new Uint8Array(300_000).map((_, k) => (k * k) >> 7);
  const stored = new Uint8Array(gzipSync(plain, { memLevel: 1 }));
  using inflate = Inflate.open("gzip");
  const starts: { read: number; written: number; bits: number; window: Uint8Array }[] = [];
  const out = new Uint8Array(plain.length + 1), window = new Uint8Array(WINDOW_BYTES);
  let read = 0, written = 0;
  for (let ended = false; !ended;) {
    const step = inflate.runBlock(stored.subarray(read), out.subarray(written));
    read += step.read;
    written += step.written;
    ended = step.ended;
    if (step.blockBits === undefined) continue;
    starts.push({ read, written, bits: step.blockBits, window: window.slice(0, inflate.copyWindow(window)) });
  }
  assert.deepEqual([read, out.subarray(0, written)], [stored.length, plain]);
  assert.deepEqual([starts[0]?.read, starts[0]?.bits, starts[0]?.window.length], [10, 0, 0]);
  assert.ok(new Set(starts.map(({ bits }) => bits)).size > 4, "too few phases");
  for (const start of starts) {
    using raw = Inflate.open();
    raw.begin(start.window, start.bits, (stored[start.read - 1] as number) >> (8 - start.bits));
    const rest = new Uint8Array(plain.length - start.written);
    assert.equal(raw.run(stored.subarray(start.read), rest).written, rest.length);
    assert.deepEqual(rest, plain.subarray(start.written));
  }
});
