import assert from "node:assert/strict";
import { preadExact, pwriteAll } from "../../../ffi/unistd.ts";
import { CHUNK, COLUMNS, ROWS, SUBJECT } from "../../../tests/support/blob/blob_subject.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { countBits, hasBit } from "./bits.ts";
import { BlobFiles } from "./blob_files.ts";
import { blobPaths } from "./blob_paths.ts";
import { CacheFolder } from "./cache_folder.ts";

/** Fills a cache in which all eight chunks are claimed and verified. */
async function fill(folder: CacheFolder, id: string): Promise<void> {
  using files = await BlobFiles.open(folder, blobPaths(folder.path, id), SUBJECT);
  pwriteAll(files.data.fd, new Uint8Array(SUBJECT.dataSize).fill(1), 0);
  files.verified.seal(files.data.changedNs());
  files.verified.record(ROWS, COLUMNS);
  files.map.claim(ROWS);
}

async function withFolder(test: (folder: CacheFolder) => Promise<void>): Promise<void> {
  using dir = TempDir.make();
  using folder = CacheFolder.open(dir.join("cache"));
  await test(folder);
}

Deno.test("a cleanly closed cache is read back completely", () =>
  withFolder(async (folder) => {
    await fill(folder, "a");
    using files = await BlobFiles.open(folder, blobPaths(folder.path, "a"), SUBJECT);
    assert.equal(files.data.sizeBytes, SUBJECT.dataSize);
    assert.equal(countBits(files.verifiedBits), 8);
    assert.ok(hasBit(files.map.bits, 7));
  }));

Deno.test("of what a process wrote that was killed only the claimed chunks remain", () =>
  withFolder(async (folder) => {
    const paths = blobPaths(folder.path, "a");
    {
      using files = await BlobFiles.open(folder, paths, SUBJECT);
      pwriteAll(files.data.fd, new Uint8Array(SUBJECT.dataSize).fill(1), 0);
      files.map.claim([2]);
    }
    using files = await BlobFiles.open(folder, paths, SUBJECT);
    const bytes = new Uint8Array(SUBJECT.dataSize);
    preadExact(files.data.fd, bytes, 0);
    assert.deepEqual(ROWS.filter((row) => bytes[row * CHUNK] === 1), [2]);
  }));

Deno.test("a chunk map of the wrong size is set aside and the blob starts empty", () =>
  withFolder(async (folder) => {
    await fill(folder, "a");
    const paths = blobPaths(folder.path, "a");
    Deno.truncateSync(paths.chunkMap, 4096);
    using files = await BlobFiles.open(folder, paths, SUBJECT);
    assert.deepEqual(files.map.bits, new Uint8Array(1));
    assert.equal(Deno.statSync(`${paths.chunkMap}.set-aside`).size, 4096);
  }));

Deno.test("a data file that is too large for the blob is set aside with its chunk map", () =>
  withFolder(async (folder) => {
    await fill(folder, "a");
    const paths = blobPaths(folder.path, "a");
    Deno.truncateSync(paths.data, 9 * 4096);
    using files = await BlobFiles.open(folder, paths, SUBJECT);
    assert.equal(files.data.sizeBytes, SUBJECT.dataSize);
    assert.deepEqual(files.map.bits, new Uint8Array(1));
    assert.equal(countBits(files.verifiedBits), 0);
    assert.equal(Deno.statSync(`${paths.data}.set-aside`).size, 9 * 4096);
  }));

Deno.test("a truncated data file keeps its chunk map, but no chunk counts as verified", () =>
  withFolder(async (folder) => {
    await fill(folder, "a");
    const paths = blobPaths(folder.path, "a");
    Deno.truncateSync(paths.data, 4096);
    using files = await BlobFiles.open(folder, paths, SUBJECT);
    assert.equal(files.data.sizeBytes, SUBJECT.dataSize);
    assert.deepEqual(files.map.bits, new Uint8Array([0xff]));
    assert.equal(countBits(files.verifiedBits), 0);
  }));

Deno.test("without its data file the chunk map is cleared", () =>
  withFolder(async (folder) => {
    await fill(folder, "a");
    const paths = blobPaths(folder.path, "a");
    Deno.removeSync(paths.data);
    using files = await BlobFiles.open(folder, paths, SUBJECT);
    assert.deepEqual(files.map.bits, new Uint8Array(1));
    assert.equal(countBits(files.verifiedBits), 0);
  }));

Deno.test("a cache file that is a symbolic link or not a regular file is refused", () =>
  withFolder(async (folder) => {
    const paths = blobPaths(folder.path, "a");
    Deno.symlinkSync("/etc/passwd", paths.data);
    await assert.rejects(BlobFiles.open(folder, paths, SUBJECT), /Cannot open cache file .*: it is a symbolic link/);
    Deno.removeSync(paths.data);
    Deno.mkdirSync(paths.data);
    await assert.rejects(BlobFiles.open(folder, paths, SUBJECT), (error) => hasCode(error, "io"));
  }));
