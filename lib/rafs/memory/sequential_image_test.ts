import assert from "node:assert/strict";
import { treeBlob } from "../../../tests/support/rafs/rafs_trees.ts";
import { concatenate } from "../../base/bytes.ts";
import { RafsError } from "../bootstrap.ts";
import { ORDINARY_MEMORY } from "./image_memory.ts";
import { openBootstrap } from "../open.ts";
import { SequentialImage } from "./sequential_image.ts";
import { BootstrapWriter } from "../v6/writer.ts";
import { walkTree } from "../walk.ts";

const plain = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

/** Many folders of each size, files with chunks, and links: several hundred KiB. */
function largeTree(): BootstrapWriter {
  const writer = new BootstrapWriter({ chunkSize: 4096, compressor: "zstd", digester: "blake3" });
  const root = writer.addInode({ ...plain, mode: 0o40755 });
  const name = (text: string) => new TextEncoder().encode(text);
  for (let k = 0; k < 40; k++) {
    const folder = writer.addInode({ ...plain, mode: 0o40755 });
    writer.addEntry(root, name(`folder-${k}`), folder);
    for (let file = 0; file < 10 * k; file++) {
      const chunks = [{ blobIndex: 0, chunkIndex: file, uncompressedOffset: file * 4096 }];
      writer.addEntry(folder, name(`file-${file}`), writer.addInode({ ...plain, mode: 0o100644, size: 9, chunks }));
    }
    const target = name("t".repeat(100 * k + 1));
    writer.addEntry(folder, name("link"), writer.addInode({ ...plain, mode: 0o120777, target }));
  }
  return writer;
}

const BLOB = treeBlob(0);

Deno.test("every part of an image that is written while it is read is final", () => {
  const whole = largeTree().finish([BLOB]);
  assert.equal([...walkTree(openBootstrap(whole))].length, 1 + 40 * 2 + 7800);
  const copies = Array.from(largeTree().begin([BLOB]).parts(ORDINARY_MEMORY), (part) => part.slice());
  assert.ok(copies.length > 10, `${copies.length} parts`);
  assert.deepEqual(concatenate(copies), whole);
});

Deno.test("places of chunks that are known only at the end are moved once, wherever the image is read", () => {
  const move = (place: { chunkIndex: number; uncompressedOffset: number }) => {
    place.chunkIndex += 1;
    place.uncompressedOffset += 4096;
  };
  const image = largeTree().begin([BLOB], [], move);
  const copies = concatenate(Array.from(image.parts(ORDINARY_MEMORY), (part) => part.slice()));
  assert.deepEqual(image.whole(), copies);
  const tree = openBootstrap(copies);
  const folder = tree.lookup(tree.rootIno, new TextEncoder().encode("folder-39"));
  const file = tree.lookup(folder, new TextEncoder().encode("file-7"));
  assert.deepEqual(tree.extents(file, 0, 9).map(({ chunkIndex, chunkOffset }) => [chunkIndex, chunkOffset]), [
    [8, 8 * 4096],
  ]);
});

Deno.test("an image that cannot be written is never read as complete", () => {
  const failing = (function* () {
    yield 1;
    throw new RafsError("Cannot write it");
  })();
  const image = new SequentialImage(new Uint8Array(2), failing);
  assert.throws(() => image.whole(), /^RafsError: Cannot write it$/);
  assert.throws(() => image.whole(), /Cannot read an image that could not be written/);
  assert.throws(() => [...image.parts(ORDINARY_MEMORY)], /Cannot read an image that could not be written/);
});
