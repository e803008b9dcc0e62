/**
 * Synthetic RAFS v5 images of any shape, generated quickly: many names, large files, uncompressed.
 *
 * Chunk digests are zero: such an image is for tests of what happens after verification.
 *
 * @module
 */
import { CHUNK_INFO } from "../../../lib/rafs/format/chunk_info.ts";
import { V5_MAGIC, V5_VERSION } from "../../../lib/rafs/format/detect.ts";
import { IMAGE_FLAG } from "../../../lib/rafs/format/flags.ts";
import { EXT_BLOB, INODE, SUPER, UNIT } from "../../../lib/rafs/v5/layout.ts";
import { roundUp, writeU64 } from "../../../lib/base/bytes.ts";

/** A tree: a number is the size of a regular file, an object a directory. Names may be any bytes as Latin-1. */
export interface SyntheticTree {
  readonly [name: string]: number | SyntheticTree;
}

/** An image and the layout of its data. */
export interface SyntheticImage {
  readonly bootstrap: Uint8Array<ArrayBuffer>;
  /** Size of the blob in bytes: the files' chunks in the order of the tree's records. */
  readonly blobSize: number;
  readonly blobId: string;
}

interface Record {
  readonly name: Uint8Array;
  readonly tree: number | SyntheticTree;
  readonly parent: number;
  childIndex: number;
  at: number;
}

/**
 * Makes the bootstrap of `tree` with chunks of `chunkSize` bytes.
 *
 * @param blobId 64 hexadecimal digits
 */
export function makeSyntheticImage(
  tree: SyntheticTree,
  chunkSize: number,
  blobId: string = "5".repeat(64),
): SyntheticImage {
  const records = layOut(tree);
  const chunksOf = (record: Record) => typeof record.tree === "number" ? Math.ceil(record.tree / chunkSize) : 0;
  let at = SUPER.SIZE;
  const inodeTable = at;
  at += roundUp(records.length * 4, UNIT);
  const blobTable = at;
  at += roundUp(8 + blobId.length, UNIT);
  const extBlobTable = at;
  at += EXT_BLOB.SIZE;
  for (const record of records) {
    record.at = at;
    at += INODE.SIZE + roundUp(record.name.length, UNIT) + chunksOf(record) * CHUNK_INFO.SIZE;
  }
  const bootstrap = new Uint8Array(at);
  const view = new DataView(bootstrap.buffer);
  const u32 = (field: number, value: number) => view.setUint32(field, value, true);
  u32(SUPER.magic, V5_MAGIC);
  u32(SUPER.version, V5_VERSION);
  u32(SUPER.size, SUPER.SIZE);
  u32(SUPER.blockSize, chunkSize);
  u32(SUPER.flags, IMAGE_FLAG.compressionNone | IMAGE_FLAG.digestSha256 | IMAGE_FLAG.explicitUidGid);
  writeU64(view, SUPER.inodeCount, records.length);
  writeU64(view, SUPER.inodeTableOffset, inodeTable);
  u32(SUPER.inodeTableEntries, records.length);
  writeU64(view, SUPER.blobTableOffset, blobTable);
  u32(SUPER.blobTableSize, 8 + blobId.length);
  writeU64(view, SUPER.extBlobTableOffset, extBlobTable);
  u32(SUPER.extBlobTableEntries, 1);
  bootstrap.set(new TextEncoder().encode(blobId), blobTable + 8);
  let blobSize = 0;
  let chunkIndex = 0;
  records.forEach((record, i) => {
    u32(inodeTable + i * 4, record.at / UNIT);
    writeInode(view, record, i + 1, chunksOf(record));
    bootstrap.set(record.name, record.at + INODE.SIZE);
    let chunkAt = record.at + INODE.SIZE + roundUp(record.name.length, UNIT);
    for (let offset = 0; typeof record.tree === "number" && offset < record.tree; offset += chunkSize) {
      const size = Math.min(chunkSize, record.tree - offset);
      u32(chunkAt + CHUNK_INFO.compressedSize, size);
      u32(chunkAt + CHUNK_INFO.uncompressedSize, size);
      writeU64(view, chunkAt + CHUNK_INFO.compressedOffset, blobSize);
      writeU64(view, chunkAt + CHUNK_INFO.uncompressedOffset, blobSize);
      writeU64(view, chunkAt + CHUNK_INFO.fileOffset, offset);
      u32(chunkAt + CHUNK_INFO.index, chunkIndex++);
      blobSize += roundUp(size, 4096);
      chunkAt += CHUNK_INFO.SIZE;
    }
  });
  u32(extBlobTable + EXT_BLOB.chunkCount, chunkIndex);
  writeU64(view, extBlobTable + EXT_BLOB.uncompressedSize, blobSize);
  writeU64(view, extBlobTable + EXT_BLOB.compressedSize, blobSize);
  return { bootstrap, blobSize, blobId };
}

/** Lays out records in breadth-first order: the children of a directory are adjacent and sorted. */
function layOut(tree: SyntheticTree): Record[] {
  const records: Record[] = [{ name: new Uint8Array([0x2f]), tree, parent: 0, childIndex: 0, at: 0 }];
  for (let i = 0; i < records.length; i++) {
    const record = records[i] as Record;
    if (typeof record.tree === "number") continue;
    record.childIndex = records.length + 1;
    for (const name of Object.keys(record.tree).sort()) {
      const child = record.tree[name] as number | SyntheticTree;
      records.push({ name: latin1(name), tree: child, parent: i + 1, childIndex: 0, at: 0 });
    }
  }
  return records;
}

function writeInode(view: DataView, record: Record, ino: number, chunks: number): void {
  const { at, tree } = record;
  const directory = typeof tree !== "number";
  writeU64(view, at + INODE.parent, record.parent);
  writeU64(view, at + INODE.ino, ino);
  view.setUint32(at + INODE.mode, directory ? 0o40755 : 0o100755, true);
  writeU64(view, at + INODE.size, directory ? 0 : tree);
  view.setUint32(at + INODE.nlink, directory ? 2 : 1, true);
  view.setUint32(at + INODE.childIndex, record.childIndex, true);
  view.setUint32(at + INODE.childCount, directory ? Object.keys(tree).length : chunks, true);
  view.setUint16(at + INODE.nameSize, record.name.length, true);
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
