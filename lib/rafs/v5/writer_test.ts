import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { randomTree, readTree, TREE_CHUNK, treeBlob, writeTree } from "../../../tests/support/rafs/rafs_trees.ts";
import { ChunkInfoTable } from "../memory/chunk_info_table.ts";
import { openBootstrap } from "../open.ts";
import { openV5 } from "./bootstrap.ts";
import { INODE } from "./layout.ts";
import { BootstrapWriter } from "./writer.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
const newWriter = () =>
  new BootstrapWriter({ chunkSize: TREE_CHUNK, compressor: "zstd", digester: "sha256", digest: sha256 });
const encode = (text: string) => new TextEncoder().encode(text);
const plain = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

/** Writes a random tree whose chunk digests are derived from their offsets. */
function written(nodes: Parameters<typeof writeTree>[0]) {
  const writer = newWriter();
  const chunks = new ChunkInfoTable();
  writer.addChunks(chunks);
  return writeTree(nodes, writer, ({ blobIndex, chunkIndex, uncompressedOffset }, size) =>
    chunks.push({
      ...{ blobIndex, chunkIndex, uncompressedOffset },
      digest: sha256(encode(`${blobIndex} ${chunkIndex}`)),
      flags: 0,
      compressedOffset: uncompressedOffset,
      compressedSize: size,
      uncompressedSize: size,
      crc32: 0,
    }));
}

Deno.test("a written v5 tree is read back, hard links of other inodes as inodes of their own", () => {
  fc.assert(
    fc.property(randomTree, (nodes) => {
      const { bytes, expected } = written(nodes);
      const isFile = (mode: number) => (mode & 0o170000) === 0o100000;
      const shown = expected.map((entry) => isFile(entry.mode) ? entry : { ...entry, link: entry.path });
      assert.deepEqual(readTree(openBootstrap(bytes)), shown);
    }),
    { numRuns: 150 },
  );
});

Deno.test("every record has the digest of its content", () => {
  fc.assert(
    fc.property(randomTree, (nodes) => {
      const bootstrap = openV5(written(nodes).bytes, {});
      for (let index = 1; index <= bootstrap.inodeCount; index++) {
        const { input, expected } = bootstrap.recordDigest(index);
        assert.deepEqual(new Uint8Array(sha256(input)), new Uint8Array(expected));
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("the index of children of every directory is greater than its own, as readers before nydus 2.2 require", () => {
  fc.assert(
    fc.property(randomTree, (nodes) => {
      const { bytes } = written(nodes);
      const bootstrap = openV5(bytes);
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      for (let index = 1; index <= bootstrap.recordCount; index++) {
        const at = bootstrap.inodeRegions(index)[0]?.at ?? assert.fail();
        const isFolder = (view.getUint32(at + INODE.mode, true) & 0o170000) === 0o040000;
        if (isFolder) assert.ok(view.getUint32(at + INODE.childIndex, true) > index);
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("blobs and prefetch inodes are listed in the given order", () => {
  const writer = newWriter();
  const root = writer.addInode({ ...plain, mode: 0o040755 });
  const files = ["b", "a"].map((name) => {
    const file = writer.addInode({ ...plain, mode: 0o100644 });
    writer.addEntry(root, encode(name), file);
    return file;
  });
  const bootstrap = openBootstrap(writer.finish([treeBlob(0), treeBlob(1)], files));
  assert.deepEqual(bootstrap.blobs.map(({ id, chunkCount }) => [id, chunkCount]), [
    ["blob-0", 1 << 20],
    ["blob-1", 1 << 20],
  ]);
  assert.deepEqual(bootstrap.prefetch, ["b", "a"].map((name) => bootstrap.lookup(bootstrap.rootIno, encode(name))));
});

Deno.test("a file with an unknown chunk is refused", () => {
  const writer = newWriter();
  const root = writer.addInode({ ...plain, mode: 0o040755 });
  const chunks = [{ blobIndex: 0, chunkIndex: 3, uncompressedOffset: 0 }];
  writer.addEntry(root, encode("f"), writer.addInode({ ...plain, mode: 0o100644, size: 1, chunks }));
  assert.throws(
    () => writer.finish([treeBlob(0)]),
    /Cannot write RAFS v5 chunk: chunk 3 of blob 0 was not added/,
  );
});
