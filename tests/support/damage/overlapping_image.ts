/**
 * A bootstrap whose files overlap: the inodes of most files are also chunk indexes of the others.
 *
 * ```
 * inode 0 │ inode 1 │ inode 2 │ …                    │ chunk indexes of the last file
 *            └─ chunk indexes of file 0 ──────────────────┘
 *                      └─ chunk indexes of file 1 ────────────┘
 * ```
 * Each index has the same meaning for every file, so that they do not contradict each other, and a few bytes describe a
 * file as large as the image: time and memory to process all files would grow with the square of the image's size.
 *
 * @module
 */
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { BootstrapWriter } from "../../../lib/rafs/v6/writer.ts";
import { EXTENDED, INODE_SLOT, SUPER } from "../../../lib/rafs/v6/layout.ts";
import { EROFS_SUPER_OFFSET } from "../../../lib/rafs/format/detect.ts";
import { Patch } from "./damage.ts";
import { treeBlob } from "../rafs/rafs_trees.ts";

const CHUNK = 4096;
/** Size of each overlapping file in bytes. Read as a chunk index, it is chunk 0x40000 of blob 0, at block 0. */
const FILE_SIZE = 0x0401_0000;
const attributes = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

/** @param files number of overlapping files; each has 16,400 chunks */
export function overlappingBootstrap(files: number): Uint8Array<ArrayBuffer> {
  const writer = new BootstrapWriter({ chunkSize: CHUNK, compressor: "none", digester: "sha256" });
  const root = writer.addInode({ mode: 0o40755, ...attributes });
  const encoder = new TextEncoder();
  const add = (name: string, chunkCount: number) => {
    const chunks = Array.from({ length: chunkCount }, (_, k) => ({
      blobIndex: 0,
      chunkIndex: 0x100 + k,
      uncompressedOffset: (0x10000 + k) * CHUNK,
    }));
    const inode = writer.addInode({ mode: 0o100644, ...attributes, size: chunkCount * CHUNK, chunks });
    writer.addEntry(root, encoder.encode(name), inode);
  };
  for (let k = 0; k < files; k++) add(`f${k}`, 0);
  add("last", FILE_SIZE / CHUNK + 16);
  const bytes = writer.finish([treeBlob(0)]);
  const tree = openBootstrap(bytes, { treeOnly: true });
  const patch = new Patch(bytes);
  const meta = patch.getU32(EROFS_SUPER_OFFSET + SUPER.metaBlock) * 4096;
  const inodes = [...Array.from({ length: files }, (_, k) => `f${k}`), "last"]
    .map((name) => meta + tree.lookup(tree.rootIno, encoder.encode(name)) * INODE_SLOT);
  const first = Math.min(...inodes), last = Math.max(...inodes);
  const format = patch.getU16(last);
  const sayChunk = (at: number, word: number) => {
    patch.u32(at, 0x1_0020 + word); // chunk 0x20 + word of blob 0
    patch.u32(at + 4, word); // at that block
  };
  for (let at = first; at < last; at += 8) sayChunk(at, 9); // the bytes between inodes, too
  for (const at of inodes) {
    patch.u16(at + EXTENDED.format, format);
    patch.u16(at + EXTENDED.xattrCount, 1);
    patch.u16(at + EXTENDED.mode, 0o100644);
    patch.u16(at + EXTENDED.mode + 2, 0);
    patch.u64(at + EXTENDED.size, FILE_SIZE);
    for (let word = 2; word < EXTENDED.SIZE / 8; word++) sayChunk(at + 8 * word, word);
  }
  return bytes;
}
