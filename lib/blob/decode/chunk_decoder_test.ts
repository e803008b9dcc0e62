import assert from "node:assert/strict";
import { makeSyntheticBlob } from "../../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { ftruncate, pwriteAll } from "../../../ffi/unistd.ts";
import { chunkColumnsFromRecords } from "../../rafs/blob/chunk_records.ts";
import { CacheFile } from "../cache/cache_file.ts";
import { newSyncState } from "../cache/lost_writes.ts";
import { checkChunks, decodeChunks, verifyChunks } from "./chunk_decoder.ts";

const SIZES = [4096, 5000, 4096];
const ROWS = [0, 1, 2];
/** Each chunk begins at a block of its own. */
const DATA_SIZE = 4096 + 8192 + 4096;

/** Three chunks, and a cache file of full size without any of them. */
async function makeTarget(path: string) {
  const { bytes, plain, descriptor, records } = await makeSyntheticBlob({ sizes: SIZES, compressor: "zstd" });
  const file = CacheFile.open(path);
  ftruncate(file.fd, DATA_SIZE);
  const target = {
    key: 1,
    columns: chunkColumnsFromRecords(descriptor, records),
    ready: new Uint8Array(new SharedArrayBuffer(1)),
    synced: newSyncState(SIZES.length),
    dataFd: file.fd.raw,
    dataSize: DATA_SIZE,
    compressor: descriptor.compressor,
    digester: descriptor.digester,
  };
  return { file, target, plain, stored: { rows: ROWS, stored: bytes, offset: 0 } };
}

Deno.test("chunks are written at their places and become ready, all but those with wrong bytes", async () => {
  using temp = TempDir.make();
  const { file, target, plain, stored } = await makeTarget(temp.join("data"));
  using _file = file;
  const wrong = plain.map((bytes) => bytes.slice());
  wrong[1]?.fill(0x20, 700, 701);
  target.columns.flags.fill(0);
  target.columns.compressedSize.set(SIZES);
  target.columns.compressedOffset.set([0, 4096, 9096]);
  const bytes = new Uint8Array(13192);
  let at = 0;
  for (const chunk of wrong) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  const failures = decodeChunks(target, { ...stored, stored: bytes });
  assert.deepEqual(failures.map(({ row, code }) => [row, code]), [[1, "corrupt"]]);
  assert.match(failures[0]?.state ?? "", /^sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}$/);
  assert.equal(target.ready[0], 0b1010_0000);
  const written = await Deno.readFile(temp.join("data"));
  assert.deepEqual(written.subarray(0, 4096), plain[0]);
  assert.deepEqual(written.subarray(4096, 12288), new Uint8Array(8192));
  assert.deepEqual(written.subarray(12288), plain[2]);
});

Deno.test("nothing is written to a file that was truncated, as what is before it would read as zeros", async () => {
  using temp = TempDir.make();
  const { file, target, stored } = await makeTarget(temp.join("data"));
  using _file = file;
  ftruncate(file.fd, 4096);
  const failures = decodeChunks(target, stored);
  assert.deepEqual(
    failures,
    ROWS.map((row) => ({ row, code: "io", state: "the cache file was truncated to 4096 bytes" })),
  );
  assert.deepEqual([target.ready[0], file.sizeBytes], [0, 4096]);
});

Deno.test("chunks read back are ready if their bytes are right, and fail if they are wrong or missing", async () => {
  using temp = TempDir.make();
  const { file, target, plain } = await makeTarget(temp.join("data"));
  using _file = file;
  pwriteAll(file.fd, plain[0] as Uint8Array, 0);
  pwriteAll(file.fd, plain[2] as Uint8Array, 12288);
  ftruncate(file.fd, DATA_SIZE - 1);
  const failures = checkChunks(target, ROWS);
  assert.deepEqual(failures.map(({ row, code }) => [row, code]), [[1, "corrupt"], [2, "io"]]);
  assert.equal(target.ready[0], 0b1000_0000);
});

Deno.test("a verification writes nothing and makes nothing ready", async () => {
  using temp = TempDir.make();
  const { file, target, stored } = await makeTarget(temp.join("data"));
  using _file = file;
  assert.deepEqual(verifyChunks(target, stored), []);
  const damaged = stored.stored.slice();
  damaged.fill(0xff, -8);
  assert.deepEqual(verifyChunks(target, { ...stored, stored: damaged }).map(({ row }) => row), [2]);
  assert.equal(target.ready[0], 0);
  assert.deepEqual(await Deno.readFile(temp.join("data")), new Uint8Array(DATA_SIZE));
});
