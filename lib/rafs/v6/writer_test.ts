import assert from "node:assert/strict";
import fc from "fast-check";
import { randomTree, readTree, treeBlob, writeTree } from "../../../tests/support/rafs/rafs_trees.ts";
import { chunkDataEnd } from "../blob/blob_layout.ts";
import { emptyAttr } from "../bootstrap.ts";
import { openBootstrap } from "../open.ts";
import { walkTree } from "../walk.ts";
import { BootstrapWriter } from "./writer.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const plain = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };
const newWriter = () => new BootstrapWriter({ chunkSize: 4096, compressor: "zstd", digester: "blake3" });

Deno.test("a written tree is read back", () => {
  fc.assert(
    fc.property(randomTree, (nodes) => {
      const { bytes, expected } = writeTree(nodes);
      assert.deepEqual(readTree(openBootstrap(bytes)), expected);
    }),
    { numRuns: 150 },
  );
});

Deno.test("every listed name is found, and no other", () => {
  fc.assert(
    fc.property(randomTree, fc.uint8Array({ minLength: 1, maxLength: 20 }), (nodes, stranger) => {
      const bootstrap = openBootstrap(writeTree(nodes).bytes);
      for (const { ino, attr } of walkTree(bootstrap)) {
        if ((attr.mode & 0o170000) !== 0o040000) continue;
        const names = new Map<string, number>();
        bootstrap.readdir(ino, 0, (name, child) => {
          names.set(name.toHex(), child);
          return true;
        });
        for (const [name, child] of names) assert.equal(bootstrap.lookup(ino, Uint8Array.fromHex(name)), child);
        if (stranger[0] !== 0x2e) assert.equal(bootstrap.lookup(ino, stranger), names.get(stranger.toHex()) ?? 0);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("a listing continues from every cookie", () => {
  const writer = newWriter();
  const root = writer.addInode({ ...plain, mode: 0o040755 });
  const file = writer.addInode({ ...plain, mode: 0o100644 });
  const names = Array.from({ length: 1500 }, (_, i) => `${"n".repeat(i % 60)}${i}`);
  for (const name of names) writer.addEntry(root, encode(name), file);
  const bootstrap = openBootstrap(writer.finish([]));
  const list = (cookie: number, most: number) => {
    const found: { name: string; next: number }[] = [];
    bootstrap.readdir(bootstrap.rootIno, cookie, (name, _ino, _type, next) => {
      found.push({ name: new TextDecoder().decode(name), next });
      return found.length < most;
    });
    return found;
  };
  const whole = list(0, Infinity);
  assert.deepEqual(whole.map(({ name }) => name), names.sort());
  for (let i = 0; i < whole.length; i += 7) {
    assert.deepEqual(list(whole[i]?.next ?? 0, 3), whole.slice(i + 1, i + 4));
  }
});

Deno.test("extents of a file are cut at chunks, at the request and at the end of the file", () => {
  const writer = newWriter();
  const root = writer.addInode({ ...plain, mode: 0o040755 });
  const chunks = [7, 3, 5].map((chunkIndex) => ({ blobIndex: 0, chunkIndex, uncompressedOffset: chunkIndex * 8192 }));
  writer.addEntry(root, encode("f"), writer.addInode({ ...plain, mode: 0o100644, size: 9000, chunks }));
  const bootstrap = openBootstrap(writer.finish([treeBlob(0)]));
  const ino = bootstrap.lookup(bootstrap.rootIno, encode("f"));
  assert.deepEqual(bootstrap.extents(ino, 4000, 1_000_000), [
    {
      fileOffset: 4000,
      blobIndex: 0,
      chunkIndex: 7,
      blobOffset: 61344,
      length: 96,
      chunkOffset: 57344,
      chunkLength: 4096,
    },
    {
      fileOffset: 4096,
      blobIndex: 0,
      chunkIndex: 3,
      blobOffset: 24576,
      length: 4096,
      chunkOffset: 24576,
      chunkLength: 4096,
    },
    {
      fileOffset: 8192,
      blobIndex: 0,
      chunkIndex: 5,
      blobOffset: 40960,
      length: 808,
      chunkOffset: 40960,
      chunkLength: 808,
    },
  ]);
  assert.deepEqual(bootstrap.extents(ino, 9000, 10), []);
  assert.deepEqual(bootstrap.extents(ino, 100, 0), []);
});

Deno.test("the same calls write the same bytes", () => {
  const nodes = fc.sample(randomTree, { numRuns: 1, seed: 42 })[0] ?? [];
  assert.deepEqual(writeTree(nodes).bytes, writeTree(nodes).bytes);
});

Deno.test("prefetched inodes are written as nids", () => {
  const writer = newWriter();
  const root = writer.addInode({ ...plain, mode: 0o040755 });
  const file = writer.addInode({ ...plain, mode: 0o100644 });
  writer.addEntry(root, encode("f"), file);
  const bootstrap = openBootstrap(writer.finish([treeBlob(0)], [file, root]));
  assert.deepEqual(bootstrap.prefetch, [bootstrap.lookup(bootstrap.rootIno, encode("f")), bootstrap.rootIno]);
});

Deno.test("the writer refuses invalid trees and values that do not fit the format", () => {
  const refused = (build: (writer: BootstrapWriter, root: number) => void, message: RegExp) =>
    assert.throws(() => {
      const writer = newWriter();
      build(writer, writer.addInode({ ...plain, mode: 0o040755 }));
      writer.finish([]);
    }, message);
  const file = { ...plain, mode: 0o100644 };
  refused((writer) => writer.addInode(file), /inode 1 has no name/);
  refused((writer, root) => writer.addEntry(root, encode("a/b"), writer.addInode(file)), /not a file name/);
  refused((writer, root) => writer.addEntry(root, encode(".."), writer.addInode(file)), /not a file name/);
  refused((writer, root) => {
    const inode = writer.addInode(file);
    writer.addEntry(root, encode("a"), inode);
    writer.addEntry(root, encode("a"), inode);
  }, /"a" occurs twice/);
  refused((writer, root) => {
    const directory = writer.addInode({ ...plain, mode: 0o040755 });
    writer.addEntry(root, encode("a"), directory);
    writer.addEntry(root, encode("b"), directory);
  }, /has a name already/);
  refused((writer) => writer.addInode({ ...file, size: 4097, chunks: [] }), /0 chunks for 4097 bytes/);
  refused((writer) => writer.addInode({ ...file, xattrs: [[encode("bad.name"), new Uint8Array(1)]] }), /"bad.name"/);
  refused((writer) => writer.addInode({ ...plain, mode: 0o120777 }), /target has 0 bytes/);
});

/** Converts an extended inode without mtime and with small ids to a compact one, including its content. */
function makeCompact(bytes: Uint8Array, at: number, contentSize: number): void {
  const old = bytes.slice(at, at + 64 + contentSize);
  const from = new DataView(old.buffer);
  const to = new DataView(bytes.buffer, bytes.byteOffset + at);
  bytes.fill(0, at, at + 64 + contentSize);
  to.setUint16(0, from.getUint16(0, true) & ~1, true);
  to.setUint16(2, from.getUint16(2, true), true);
  to.setUint16(4, from.getUint16(4, true), true);
  to.setUint16(6, from.getUint32(44, true), true);
  to.setUint32(8, from.getUint32(8, true), true);
  to.setUint32(16, from.getUint32(16, true), true);
  to.setUint16(24, from.getUint32(24, true), true);
  to.setUint16(26, from.getUint32(28, true), true);
  bytes.set(old.subarray(64), at + 32);
}

Deno.test("compact inodes are shown like extended ones, without times", () => {
  const writer = newWriter();
  const owner = { uid: 12, gid: 34, mtime: 0, mtimeNsec: 0 };
  const chunks = [{ blobIndex: 0, chunkIndex: 9, uncompressedOffset: 0x9000 }];
  const root = writer.addInode({ ...owner, mode: 0o040755 });
  const xattrs = [[encode("user.k"), encode("v")]] as const;
  const inodes = {
    file: writer.addInode({ ...owner, mode: 0o104751, size: 99, chunks, xattrs }),
    link: writer.addInode({ ...owner, mode: 0o120777, target: encode("over/there") }),
    device: writer.addInode({ ...owner, mode: 0o020600, rdev: 0x105 }),
    directory: writer.addInode({ ...owner, mode: 0o040700 }),
  };
  for (const [name, inode] of Object.entries(inodes)) writer.addEntry(root, encode(name), inode);
  const bytes = writer.finish([treeBlob(0)]);
  const expected = readTree(openBootstrap(bytes));
  const bootstrap = openBootstrap(bytes);
  const metaOffset = new DataView(bytes.buffer).getUint32(1024 + 40, true) * 4096;
  const contentSizes = { file: 24 + 8, link: 10, device: 0, directory: 2 * 12 + 3 };
  for (const [name, size] of Object.entries(contentSizes)) {
    makeCompact(bytes, metaOffset + bootstrap.lookup(bootstrap.rootIno, encode(name)) * 32, size);
  }
  const compact = openBootstrap(bytes);
  assert.deepEqual(readTree(compact), expected);
  const attr = emptyAttr();
  compact.attr(compact.lookup(compact.rootIno, encode("file")), attr);
  assert.equal(attr.mode, 0o104751);
});

Deno.test("images of old builders are read: constant block count, prefetch size without a table, no ids", () => {
  const writer = new BootstrapWriter({
    chunkSize: 4096,
    compressor: "none",
    digester: "sha256",
    explicitUidGid: false,
  });
  writer.addInode({ ...plain, mode: 0o040755 });
  const bytes = writer.finish([]);
  const view = new DataView(bytes.buffer);
  view.setUint32(1024 + 36, 4096, true);
  view.setUint32(1152 + 48, 4096, true);
  const bootstrap = openBootstrap(bytes);
  assert.equal(bootstrap.explicitUidGid, false);
  assert.deepEqual(bootstrap.prefetch, []);
  assert.deepEqual(bootstrap.blobs, []);
});

Deno.test("blobs of builders that counted only the chunk data are read", () => {
  const writer = newWriter();
  writer.addInode({ ...plain, mode: 0o040755 });
  const blob = treeBlob(0);
  const bytes = writer.finish([{ ...blob, features: 0x5, compressedSize: blob.meta?.offset ?? 0 }]);
  assert.equal(chunkDataEnd(openBootstrap(bytes).blobs[0] ?? assert.fail()), blob.meta?.offset);
  assert.throws(
    () => openBootstrap(writer.finish([{ ...blob, compressedSize: blob.meta?.offset ?? 0 }])),
    /compression info at \d+ reaches beyond the blob/,
  );
});

Deno.test("a directory reachable by two paths is damage, not a loop", () => {
  const writer = newWriter();
  const root = writer.addInode({ ...plain, mode: 0o040755 });
  const a = writer.addInode({ ...plain, mode: 0o040755 });
  const b = writer.addInode({ ...plain, mode: 0o040755 });
  writer.addEntry(root, encode("a"), a);
  writer.addEntry(a, encode("b"), b);
  const bytes = writer.finish([]);
  const view = new DataView(bytes.buffer);
  const whole = openBootstrap(bytes);
  const nidA = whole.lookup(whole.rootIno, encode("a"));
  const nidB = whole.lookup(nidA, encode("b"));
  // The entry "b" of directory a, after the 64-byte inode and two entries, now refers to the root.
  const entry = view.getUint32(1024 + 40, true) * 4096 + nidA * 32 + 64 + 2 * 12;
  assert.equal(view.getUint32(entry, true), nidB);
  for (const nid of [whole.rootIno, nidA]) {
    view.setUint32(entry, nid, true);
    const looping = openBootstrap(bytes);
    assert.throws(
      () => looping.lookup(nidA, encode("b")),
      /Cannot read RAFS v6 directory block at \d+: "\.\." of directory/,
    );
    assert.throws(() => [...walkTree(looping)], /Cannot read RAFS v6 directory block at \d+: "\.\." of directory/);
  }
});
