import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { allocateChunkColumns, type ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { hasBit } from "./bits.ts";
import { VERIFIED, VERIFIED_ROW, VerifiedDigests, type VerifiedSubject } from "./verified.ts";

const SUBJECT: VerifiedSubject = {
  digester: "blake3",
  count: 5,
  data: { inode: 7n, bornMs: 1234567890123n },
  changedNs: 99n,
  description: "0123456789abcdef0123456789abcdef",
};
/** Chunks of 100 bytes, one block each. */
const BLOCK = 4096, DATA_BYTES = 6 * BLOCK;

/** Chunks with the digests 1111…, 2222…, …; 0 means unknown. */
function chunks(...values: number[]): ChunkColumns {
  const columns = allocateChunkColumns(values.length, 0);
  for (const [row, value] of values.entries()) {
    columns.digests.fill(value, row * 32, (row + 1) * 32);
    columns.uncompressedOffset[row] = row * BLOCK;
    columns.uncompressedSize[row] = 100;
  }
  return columns;
}

/** Rows that match; undefined if the file contradicts them. */
function matching(file: VerifiedDigests, columns: ChunkColumns, dataSize = DATA_BYTES): number[] | undefined {
  const bits = file.matching(columns, dataSize);
  return bits && Array.from({ length: columns.count }, (_, row) => row).filter((row) => hasBit(bits, row));
}

async function withFile(test: (path: string) => Promise<void>): Promise<void> {
  using dir = TempDir.make();
  await test(dir.join("x.blob.verified"));
}

Deno.test("a recorded digest matches only itself, zeros match nothing", () =>
  withFile(async (path) => {
    {
      using file = await VerifiedDigests.open(path, SUBJECT);
      assert.deepEqual(matching(file, chunks(0, 0, 0, 0, 0)), []);
      file.record([0, 1, 3], chunks(1, 2, 3, 4, 5));
      await file.sync();
    }
    using file = await VerifiedDigests.open(path, SUBJECT);
    assert.deepEqual(matching(file, chunks(1, 2, 3, 4, 5)), [0, 1, 3]);
    assert.deepEqual(matching(file, chunks(1, 9, 0, 4, 0)), [0, 3]);
    assert.equal(Deno.statSync(path).size, VERIFIED.HEADER_SIZE + 5 * VERIFIED_ROW.SIZE);
  }));

const others: [string, VerifiedSubject][] = [
  ["the digester", { ...SUBJECT, digester: "sha256" }],
  ["the number of chunks", { ...SUBJECT, count: 6 }],
  ["the data file's inode", { ...SUBJECT, data: { inode: 8n, bornMs: 1234567890123n } }],
  ["the time the data file was changed", { ...SUBJECT, changedNs: 100n }],
  ["the description", { ...SUBJECT, description: "f".repeat(32) }],
  ["the data file's birth", { ...SUBJECT, data: { inode: 7n, bornMs: 1234567890124n } }],
];
for (const [what, other] of others) {
  Deno.test(`after a change of ${what} nothing counts as verified, then or later`, () =>
    withFile(async (path) => {
      const expected = chunks(...[1, 2, 3, 4, 5, 6].slice(0, other.count));
      {
        using file = await VerifiedDigests.open(path, SUBJECT);
        file.record([0, 1, 2, 3, 4], expected);
      }
      {
        using file = await VerifiedDigests.open(path, other);
        assert.deepEqual(matching(file, expected), []);
      }
      using file = await VerifiedDigests.open(path, SUBJECT);
      assert.deepEqual(matching(file, chunks(1, 2, 3, 4, 5)), []);
    }));
}

Deno.test("a damaged file is started anew", () =>
  withFile(async (path) => {
    for (const damage of [new Uint8Array(3), new Uint8Array(VERIFIED.HEADER_SIZE + 5 * VERIFIED_ROW.SIZE).fill(1)]) {
      Deno.writeFileSync(path, damage);
      using file = await VerifiedDigests.open(path, SUBJECT);
      assert.deepEqual(matching(file, chunks(1, 1, 1, 1, 1)), []);
    }
  }));

Deno.test("after a seal the records are valid for the data file as it was then", () =>
  withFile(async (path) => {
    {
      using file = await VerifiedDigests.open(path, SUBJECT);
      file.record([2], chunks(1, 2, 3, 4, 5));
      assert.equal(file.seal(-5n), true);
      assert.equal(file.seal(-5n), false);
    }
    {
      using file = await VerifiedDigests.open(path, { ...SUBJECT, changedNs: -5n });
      assert.deepEqual(matching(file, chunks(1, 2, 3, 4, 5)), [2]);
    }
    using file = await VerifiedDigests.open(path, SUBJECT);
    assert.deepEqual(matching(file, chunks(1, 2, 3, 4, 5)), []);
  }));

Deno.test("a file states the description of its blob, and any other file states nothing", () =>
  withFile(async (path) => {
    assert.equal(VerifiedDigests.descriptionIn(path), undefined);
    (await VerifiedDigests.open(path, SUBJECT))[Symbol.dispose]();
    assert.equal(VerifiedDigests.descriptionIn(path), SUBJECT.description);
    Deno.writeFileSync(path, new Uint8Array(VERIFIED.HEADER_SIZE));
    assert.equal(VerifiedDigests.descriptionIn(path), undefined);
    Deno.truncateSync(path, 10);
    assert.equal(VerifiedDigests.descriptionIn(path), undefined);
    Deno.removeSync(path);
    Deno.symlinkSync("/dev/zero", path);
    assert.equal(VerifiedDigests.descriptionIn(path), undefined);
  }));

Deno.test("a verified chunk counts only at its place, and another chunk at that place is a contradiction", () =>
  withFile(async (path) => {
    using file = await VerifiedDigests.open(path, SUBJECT);
    file.record([1, 2], chunks(1, 2, 3, 4, 5));
    const same = chunks(1, 2, 3, 4, 5);
    assert.deepEqual(matching(file, same), [1, 2]);
    const moved = chunks(1, 2, 3, 4, 5);
    moved.uncompressedOffset[2] = 5 * BLOCK;
    assert.equal(matching(file, moved), undefined);
    const longer = chunks(1, 2, 3, 4, 5);
    longer.uncompressedSize[1] = 200;
    assert.equal(matching(file, longer), undefined);
    const unknown = chunks(1, 2, 0, 4, 5);
    unknown.uncompressedSize[2] = 0;
    assert.deepEqual(matching(file, unknown), [1], "an image may know a part of the chunks");
    unknown.uncompressedOffset[3] = 2 * BLOCK + 99;
    assert.equal(matching(file, unknown), undefined, "not where another chunk is");
    assert.deepEqual(matching(file, moved, 2 * BLOCK), [1], "a record beyond the end is damage");
  }));
