import { deepEqual, match, ok } from "node:assert/strict";
import fc from "fast-check";
import { readAll } from "../../tests/support/archive/tar_blocks.ts";
import { tarOf, type TestEntry } from "../../tests/support/archive/tar_builder.ts";
import { concatenate, fromByteString, toByteString } from "../base/bytes.ts";
import { BLOCK_SIZE, HEADER, tarEntry, TarError, type TarType } from "./tar.ts";
import { checksums } from "./tar_header.ts";

const name = fc.uint8Array({ minLength: 1, maxLength: 300, min: 1 });
const bytes = fc.uint8Array({ maxLength: 1200 });
const id = fc.oneof(fc.nat({ max: 0xffff_fffe }), fc.constant(0));
const seconds = fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }));
const time = { mtimeSec: seconds, mtimeNsec: fc.oneof(fc.constant(0), fc.nat({ max: 999_999_999 })) };
const xattrs = fc.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40, min: 1 }), bytes), { maxLength: 3 })
  .map((pairs) => new Map(pairs.map(([key, value]) => ["user." + toByteString(key), value])));

const anyEntry: fc.Arbitrary<TestEntry> = fc.record({
  type: fc.constantFrom<TarType>("file", "link", "symlink", "char", "block", "directory", "fifo"),
  name,
  target: name,
  mode: fc.nat({ max: 0o7777 }),
  uid: id,
  gid: id,
  ...time,
  major: fc.nat({ max: 4095 }),
  minor: fc.nat({ max: (1 << 20) - 1 }),
  xattrs,
  content: bytes,
}).map(({ type, target, major, minor, content, ...rest }) => {
  const data = type === "file" ? content : new Uint8Array(0);
  const isDevice = type === "char" || type === "block";
  return {
    entry: tarEntry({
      ...rest,
      type,
      linkName: type === "link" || type === "symlink" ? target : new Uint8Array(0),
      sizeBytes: data.length,
      devMajor: isDevice ? major : 0,
      devMinor: isDevice ? minor : 0,
    }),
    content: data,
  };
});

/** Expected result of reading: a directory's name ends in a slash. */
function expected({ entry, content }: TestEntry): TestEntry {
  const isOpen = entry.type === "directory" && entry.name.at(-1) !== 0x2f;
  return { entry: isOpen ? { ...entry, name: concatenate([entry.name, fromByteString("/")]) } : entry, content };
}

Deno.test("every valid entry is read back as it was written, whatever the size of the pieces", () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 4 }), fc.integer({ min: 1, max: 2000 }), (entries, pieceBytes) => {
      deepEqual(readAll(tarOf(...entries), pieceBytes), entries.map(expected));
    }),
    { numRuns: 300 },
  );
});

Deno.test("arbitrary bytes yield entries or an error with an offset", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 3000, size: "max" }), (noise) => {
      try {
        readAll(noise, 700);
        ok(noise.every((byte, i) => i >= 1024 || byte === 0));
      } catch (error) {
        ok(error instanceof TarError);
        match(error.message, /^Cannot read .* at \d+: /);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("a mutated archive yields entries or an error with an offset", () => {
  const mutation = fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.boolean());
  fc.assert(
    fc.property(
      fc.array(anyEntry, { minLength: 1, maxLength: 3 }),
      fc.array(mutation, { minLength: 1 }),
      (entries, m) => {
        const archive = tarOf(...entries);
        for (const [at, value, mend] of m) {
          archive[at % archive.length] = value;
          if (mend) mendChecksum(archive, Math.floor(at % archive.length / BLOCK_SIZE) * BLOCK_SIZE);
        }
        try {
          readAll(archive, 513);
        } catch (error) {
          ok(error instanceof TarError, String(error));
          match(error.message, /^Cannot read .* at \d+: /);
        }
      },
    ),
    { numRuns: 500 },
  );
});

/** Fixes the block's checksum, so that the reader accepts the mutated header. */
function mendChecksum(archive: Uint8Array, at: number): void {
  const block = archive.subarray(at, at + BLOCK_SIZE);
  if (block.length < BLOCK_SIZE) return;
  block.set(fromByteString(checksums(block).unsigned.toString(8).padStart(6, "0") + "\0 "), HEADER.checksum[0]);
}
