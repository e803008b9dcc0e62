/**
 * Kinds of damage to RAFS v5 bootstraps.
 *
 * @module
 */
import { CHUNK_INFO } from "../../../lib/rafs/format/chunk_info.ts";
import { EXT_BLOB, INODE, INODE_FLAG, SUPER, UNIT } from "../../../lib/rafs/v5/layout.ts";
import type { Damage, Fallout, FixtureCopy, Patch } from "./damage.ts";

const padded = (size: number) => Math.ceil(size / UNIT) * UNIT;

/** Offsets of the structures of a v5 bootstrap, in bytes from its start. */
class V5Places {
  readonly #patch: Patch;

  constructor(private readonly copy: FixtureCopy) {
    this.#patch = copy.bootstrap;
  }

  /** Entry of the inode table. */
  entry(index: number): number {
    return this.#patch.getU64(SUPER.inodeTableOffset) + (index - 1) * 4;
  }

  /** Record of an inode. */
  inode(path: string): number {
    return this.#patch.getU32(this.entry(this.copy.ino(path))) * UNIT;
  }

  name(path: string): number {
    return this.inode(path) + INODE.SIZE;
  }

  /** Offset of what follows the name: link target, xattrs or chunk infos. */
  tail(path: string): number {
    return this.name(path) + padded(this.#patch.getU16(this.inode(path) + INODE.nameSize));
  }

  /** Chunk info of a file without xattrs. */
  chunk(path: string, k: number): number {
    return this.tail(path) + k * CHUNK_INFO.SIZE;
  }

  blobId(): number {
    return this.#patch.getU64(SUPER.blobTableOffset) + 8;
  }

  extBlob(index: number): number {
    return this.#patch.getU64(SUPER.extBlobTableOffset) + index * EXT_BLOB.SIZE;
  }
}

type Row = readonly [name: string, damage: (p: Patch, at: V5Places, copy: FixtureCopy) => void, fallout?: Fallout];

const NEGATIVE = 1n << 63n;
const EVERY_BIT = 0xffffffff;

const SUPER_BLOCK: readonly Row[] = [
  ["magic", (p) => p.flip(SUPER.magic), "refused"],
  ["version", (p) => p.u32(SUPER.version, 0x600), "refused"],
  ["super block size", (p) => p.u32(SUPER.size, 4096), "refused"],
  ["chunk size 0", (p) => p.u32(SUPER.blockSize, 0), "refused"],
  ["chunk size 2^31", (p) => p.u32(SUPER.blockSize, 2 ** 31), "refused"],
  ["chunk size no power of two", (p) => p.u32(SUPER.blockSize, 65537), "refused"],
  ["chunk size twice as large", (p) => p.u32(SUPER.blockSize, 1 << 17)],
  ["chunk size half as large", (p) => p.u32(SUPER.blockSize, 1 << 15)],
  ["no flags", (p) => p.u64(SUPER.flags, 0)],
  ["all flags", (p) => p.u64(SUPER.flags, (1n << 64n) - 1n), "refused"],
  ["compressor none", (p) => p.u8(SUPER.flags, p.getU8(SUPER.flags) & ~2 | 1)],
  ["compressor zstd", (p) => p.u8(SUPER.flags, p.getU8(SUPER.flags) & ~2 | 0x80)],
  ["compressor gzip", (p) => p.u8(SUPER.flags, p.getU8(SUPER.flags) & ~2 | 0x40)],
  ["two compressors", (p) => p.u8(SUPER.flags, p.getU8(SUPER.flags) | 3), "refused"],
  ["digester another", (p) => p.u8(SUPER.flags, p.getU8(SUPER.flags) ^ 12)],
  ["two digesters", (p) => p.u8(SUPER.flags, p.getU8(SUPER.flags) | 12), "refused"],
  ["encryption flag", (p) => p.u8(SUPER.flags + 3, 2)],
  ["no inodes", (p) => p.u64(SUPER.inodeCount, 0), "refused"],
  ["2^63 inodes", (p) => p.u64(SUPER.inodeCount, NEGATIVE), "refused"],
  ["more inodes than entries", (p) => p.u64(SUPER.inodeCount, 1 << 20), "refused"],
  ["inode table at 0", (p) => p.u64(SUPER.inodeTableOffset, 0), "refused"],
  ["inode table at a negative offset", (p) => p.u64(SUPER.inodeTableOffset, NEGATIVE), "refused"],
  ["inode table beyond the end", (p) => p.u64(SUPER.inodeTableOffset, 1 << 30), "refused"],
  ["inode table 8 bytes further", (p) => p.u64(SUPER.inodeTableOffset, SUPER.SIZE + 8)],
  ["inode table of no entries", (p) => p.u32(SUPER.inodeTableEntries, 0), "refused"],
  ["inode table of 2^32 entries", (p) => p.u32(SUPER.inodeTableEntries, EVERY_BIT), "refused"],
  ["prefetch table of 2^32 entries", (p) => p.u32(SUPER.prefetchTableEntries, EVERY_BIT), "refused"],
  ["prefetch table over the inode table", (p) => {
    p.u64(SUPER.prefetchTableOffset, SUPER.SIZE);
    p.u32(SUPER.prefetchTableEntries, 2);
  }, "refused"],
  ["blob table at a negative offset", (p) => p.u64(SUPER.blobTableOffset, NEGATIVE), "refused"],
  ["blob table over the inode table", (p) => p.u64(SUPER.blobTableOffset, SUPER.SIZE), "refused"],
  ["blob table of 4 GiB", (p) => p.u32(SUPER.blobTableSize, 0xfffffff8), "refused"],
  ["blob table empty", (p) => p.u32(SUPER.blobTableSize, 0), "refused"],
  ["blob table of one entry", (p) => p.u32(SUPER.blobTableSize, 72), "refused"],
  ["extended blob table of 2^32 entries", (p) => p.u32(SUPER.extBlobTableEntries, EVERY_BIT), "refused"],
  ["extended blob table of one entry", (p) => p.u32(SUPER.extBlobTableEntries, 1), "refused"],
  ["extended blob table none", (p) => p.u32(SUPER.extBlobTableEntries, 0), []],
  ["extended blob table beyond the end", (p) => p.u64(SUPER.extBlobTableOffset, 1 << 30), "refused"],
  ...[0, 7, 1000, 8191, 8192, 8320].map((length): Row => [
    `image cut to ${length} bytes`,
    (p, _, copy) => copy.replaceBootstrap(p.bytes.slice(0, length)),
    "refused",
  ]),
  ["image cut to 9000 bytes", (p, _, copy) => copy.replaceBootstrap(p.bytes.slice(0, 9000))],
  ["image cut to half", (p, _, copy) => copy.replaceBootstrap(p.bytes.slice(0, (p.bytes.length >> 4) * 8))],
  ["image cut by 8 bytes", (p, _, copy) => copy.replaceBootstrap(p.bytes.slice(0, -8))],
  ["image of zeros", (p) => void p.bytes.fill(0), "refused"],
  ["image zeros behind the super block", (p) => void p.bytes.fill(0, SUPER.SIZE), "refused"],
];

const extU32 = (field: number, value: number) => (p: Patch, at: V5Places) => p.u32(at.extBlob(0) + field, value);
const extU64 = (field: number, value: number | bigint) => (p: Patch, at: V5Places) =>
  p.u64(at.extBlob(0) + field, value);
const blobId = (id: string) => (p: Patch, at: V5Places) => p.text(at.blobId(), id);

const BLOBS: readonly Row[] = [
  ["id with ../", blobId("../../../../etc/passwd"), "refused"],
  ["id with a slash", blobId("a/b"), "refused"],
  ["id absolute", blobId("/etc/passwd"), "refused"],
  ["id with NUL", blobId("abc\0"), "refused"],
  ["id with a blank", blobId("a b"), "refused"],
  [
    "id of another blob of the image",
    (p, at) => void p.bytes.copyWithin(at.blobId(), at.blobId() + 73, at.blobId() + 137),
    "refused",
  ],
  ["ids exchanged", (p, at) => p.swap(at.blobId(), at.blobId() + 73, 64)],
  ["id unknown", blobId("0000")],
  ["ids without separator", (p, at) => p.u8(at.blobId() + 64, 0x61)],
  ["no chunks", extU32(EXT_BLOB.chunkCount, 0)],
  ["a chunk less", extU32(EXT_BLOB.chunkCount, 7)],
  ["2^24 chunks", extU32(EXT_BLOB.chunkCount, 1 << 24), "refused"],
  ["nearly 2^24 chunks", extU32(EXT_BLOB.chunkCount, (1 << 24) - 100), "refused"],
  ["2^24 chunks in a large blob", (p, at) => {
    p.u32(at.extBlob(0) + EXT_BLOB.chunkCount, 1 << 24);
    p.u64(at.extBlob(0) + EXT_BLOB.uncompressedSize, 2 ** 40);
  }],
  ["2^32 chunks", extU32(EXT_BLOB.chunkCount, EVERY_BIT), "refused"],
  ["features", extU32(EXT_BLOB.features, EVERY_BIT)],
  ["feature ZRAN", extU32(EXT_BLOB.features, 8)],
  ["feature batch", extU32(EXT_BLOB.features, 0x80)],
  ["plain size 0", extU64(EXT_BLOB.uncompressedSize, 0)],
  ["plain size 1", extU64(EXT_BLOB.uncompressedSize, 1)],
  ["plain size 2^44", extU64(EXT_BLOB.uncompressedSize, 2 ** 44)],
  ["plain size 2^63", extU64(EXT_BLOB.uncompressedSize, NEGATIVE), "refused"],
  ["stored size 0", extU64(EXT_BLOB.compressedSize, 0)],
  ["stored size 1", extU64(EXT_BLOB.compressedSize, 1)],
  ["stored size 2^40", extU64(EXT_BLOB.compressedSize, 2 ** 40)],
  ["stored size 2^63", extU64(EXT_BLOB.compressedSize, NEGATIVE), "refused"],
];

const FILE = "/new3/f";
const u32 = (path: string, field: number, value: number) => (p: Patch, at: V5Places) =>
  p.u32(at.inode(path) + field, value);
const u64 = (path: string, field: number, value: number | bigint) => (p: Patch, at: V5Places) =>
  p.u64(at.inode(path) + field, value);
const u16 = (path: string, field: number, value: number) => (p: Patch, at: V5Places) =>
  p.u16(at.inode(path) + field, value);
const entry = (index: (copy: FixtureCopy) => number, value: number) => (p: Patch, at: V5Places, copy: FixtureCopy) =>
  p.u32(at.entry(index(copy)), value);

const INODES: readonly Row[] = [
  ["entry of the root 0", entry(() => 1, 0), "refused"],
  ["entry of the root beyond the end", entry(() => 1, EVERY_BIT), "refused"],
  ["entry of the root a file's", (p, at, copy) => p.u32(at.entry(1), p.getU32(at.entry(copy.ino(FILE)))), "refused"],
  ["entry of a file 0", entry((copy) => copy.ino(FILE), 0)],
  ["entry of a file in the tables", entry((copy) => copy.ino(FILE), 8200 / 8)],
  ["entry of a file 8 bytes further", (p, at, copy) => {
    const place = at.entry(copy.ino(FILE));
    p.u32(place, p.getU32(place) + 1);
  }],
  [
    "entries of two files exchanged",
    (p, at, copy) => p.swap(at.entry(copy.ino("/keep/k1")), at.entry(copy.ino("/keep/k2")), 4),
  ],
  [
    "entry of a directory its parent's",
    (p, at, copy) => p.u32(at.entry(copy.ino("/opq/deep")), p.getU32(at.entry(copy.ino("/opq")))),
  ],
  ["entries all one", (p, at, copy) => {
    for (let i = 2; i <= copy.original.bootstrap.inodeCount; i++) p.u32(at.entry(i), p.getU32(at.entry(1)));
  }],
  ["parent another directory", u64(FILE, INODE.parent, 1)],
  ["parent 2^63", u64(FILE, INODE.parent, NEGATIVE)],
  ["ino 0", u64(FILE, INODE.ino, 0)],
  ["ino 2^63", u64(FILE, INODE.ino, NEGATIVE)],
  ["ino of a directory", (p, at, copy) => u64(FILE, INODE.ino, copy.ino("/opq"))(p, at)],
  ["ino of a directory another directory", (p, at, copy) => u64("/opq/deep", INODE.ino, copy.ino("/opq"))(p, at)],
  ["mode 0", u32(FILE, INODE.mode, 0)],
  ["mode with every bit", u32(FILE, INODE.mode, EVERY_BIT)],
  ["file is a directory", u32(FILE, INODE.mode, 0o040755)],
  ["file is a symbolic link", u32(FILE, INODE.mode, 0o120777)],
  ["directory is a file", u32("/opq", INODE.mode, 0o100644)],
  ["symbolic link is a file", u32("/etc/link", INODE.mode, 0o100644)],
  ["file of 2^63 bytes", u64(FILE, INODE.size, NEGATIVE)],
  ["file of 2^52 bytes", u64(FILE, INODE.size, 2 ** 52)],
  ["file a byte longer", u64(FILE, INODE.size, 131074)],
  ["file a byte shorter", u64(FILE, INODE.size, 131072)],
  ["file two bytes shorter", u64(FILE, INODE.size, 131071)],
  ["file of 0 bytes", u64(FILE, INODE.size, 0)],
  ["blocks", u64(FILE, INODE.blocks, NEGATIVE), []],
  ["flag of xattrs", u64(FILE, INODE.flags, INODE_FLAG.xattr)],
  ["flag of holes", u64(FILE, INODE.flags, INODE_FLAG.hasHole)],
  ["every flag", u64(FILE, INODE.flags, (1n << 64n) - 1n)],
  ["no links", u32(FILE, INODE.nlink, 0), []],
  ["2^32 links", u32(FILE, INODE.nlink, EVERY_BIT)],
  ["children from itself on", (p, at, copy) => u32("/opq", INODE.childIndex, copy.ino("/opq"))(p, at)],
  ["children from the root on", u32("/opq", INODE.childIndex, 1)],
  [
    "children of another directory",
    (p, at) => u32("/opq", INODE.childIndex, p.getU32(at.inode("/keep") + INODE.childIndex))(p, at),
  ],
  ["root's children from the root on", u32("/", INODE.childIndex, 1), "refused"],
  ["2^32 children", u32("/opq", INODE.childCount, EVERY_BIT)],
  ["a child more", (p, at) => u32("/opq", INODE.childCount, p.getU32(at.inode("/opq") + INODE.childCount) + 1)(p, at)],
  ["a child less", (p, at) => u32("/opq", INODE.childCount, p.getU32(at.inode("/opq") + INODE.childCount) - 1)(p, at)],
  ["2^32 chunks", u32(FILE, INODE.childCount, EVERY_BIT)],
  ["a chunk more", u32(FILE, INODE.childCount, 4)],
  ["a chunk less", u32(FILE, INODE.childCount, 2)],
  ["no chunks", u32(FILE, INODE.childCount, 0)],
  ["name of 0 bytes", u16(FILE, INODE.nameSize, 0)],
  ["name of 65535 bytes", u16(FILE, INODE.nameSize, 0xffff)],
  ["name of 255 bytes", u16(FILE, INODE.nameSize, 255)],
  ["name longer", u16(FILE, INODE.nameSize, 4)],
  ["name with a slash", (p, at) => p.text(at.name("/opq/new"), "n/w")],
  ["name with NUL", (p, at) => p.text(at.name("/opq/new"), "n\0w")],
  ["name .", (p, at) => {
    p.u16(at.inode("/opq/new") + INODE.nameSize, 1);
    p.text(at.name("/opq/new"), ".");
  }],
  ["names not in order", (p, at) => p.text(at.name("/opq/new"), "aaa")],
  ["symbolic link of 0 bytes", u16("/etc/link", INODE.symlinkSize, 0)],
  ["symbolic link of 65535 bytes", u16("/etc/link", INODE.symlinkSize, 0xffff)],
  ["symbolic link with NUL", (p, at) => p.u8(at.tail("/etc/link") + 2, 0)],
  ["mtime of 2^32 nanoseconds", u32(FILE, INODE.mtimeNsec, EVERY_BIT)],
  ["mtime of 2^63 seconds", u64(FILE, INODE.mtime, NEGATIVE)],
  ["digest", (p, at) => p.flip(at.inode(FILE) + 4)],
];

const chunkU32 = (field: number, value: number) => (p: Patch, at: V5Places) => p.u32(at.chunk(FILE, 1) + field, value);
const chunkU64 = (field: number, value: number | bigint) => (p: Patch, at: V5Places) =>
  p.u64(at.chunk(FILE, 1) + field, value);

/** Damage to the second of three chunks of a file, which are chunks 0, 0 and another one, or all different. */
const CHUNKS: readonly Row[] = [
  ["bit of the digest", (p, at) => p.flip(at.chunk(FILE, 1) + 5)],
  ["digest zero", (p, at) => void p.bytes.fill(0, at.chunk(FILE, 1), at.chunk(FILE, 1) + 32)],
  [
    "digest another chunk's",
    (p, at) => void p.bytes.copyWithin(at.chunk(FILE, 1), at.chunk("/keep/k2", 0), at.chunk("/keep/k2", 0) + 32),
  ],
  ["blob beyond the table", chunkU32(CHUNK_INFO.blobIndex, 3)],
  ["blob 2^32 - 1", chunkU32(CHUNK_INFO.blobIndex, EVERY_BIT)],
  ["blob another", (p, at) => {
    const to = at.chunk(FILE, 1) + CHUNK_INFO.blobIndex;
    p.u32(to, (p.getU32(to) + 1) % 3);
  }],
  ["not compressed", chunkU32(CHUNK_INFO.flags, 0x10)],
  ["a hole", chunkU32(CHUNK_INFO.flags, 2)],
  ["encrypted", chunkU32(CHUNK_INFO.flags, 5)],
  ["in a batch", chunkU32(CHUNK_INFO.flags, 9)],
  ["unknown flags", chunkU32(CHUNK_INFO.flags, 0xfffffe11)],
  ["stored size 0", chunkU32(CHUNK_INFO.compressedSize, 0)],
  ["stored size 2^32 - 1", chunkU32(CHUNK_INFO.compressedSize, EVERY_BIT)],
  ["plain size 0", chunkU32(CHUNK_INFO.uncompressedSize, 0)],
  ["plain size 2^32 - 1", chunkU32(CHUNK_INFO.uncompressedSize, EVERY_BIT)],
  ["plain size less", chunkU32(CHUNK_INFO.uncompressedSize, 65535)],
  ["stored offset 2^63", chunkU64(CHUNK_INFO.compressedOffset, NEGATIVE)],
  ["stored offset beyond the blob", chunkU64(CHUNK_INFO.compressedOffset, 2 ** 39)],
  ["stored offset one further", (p, at) => {
    const to = at.chunk(FILE, 1) + CHUNK_INFO.compressedOffset;
    p.u64(to, p.getU64(to) + 1);
  }],
  ["plain offset 2^63", chunkU64(CHUNK_INFO.uncompressedOffset, NEGATIVE)],
  ["plain offset beyond the blob", chunkU64(CHUNK_INFO.uncompressedOffset, 2 ** 43)],
  ["plain offset over another chunk", chunkU64(CHUNK_INFO.uncompressedOffset, 0)],
  ["plain offset one further", (p, at) => {
    const to = at.chunk(FILE, 1) + CHUNK_INFO.uncompressedOffset;
    p.u64(to, p.getU64(to) + 1);
  }],
  ["file offset 0", chunkU64(CHUNK_INFO.fileOffset, 0)],
  ["file offset 2^63", chunkU64(CHUNK_INFO.fileOffset, NEGATIVE)],
  ["index 2^32 - 1", chunkU32(CHUNK_INFO.index, EVERY_BIT)],
  ["index one further", (p, at) => {
    const to = at.chunk(FILE, 1) + CHUNK_INFO.index;
    p.u32(to, p.getU32(to) + 1);
  }],
  ["CRC", chunkU32(CHUNK_INFO.crc32, 1)],
  ["zeros", (p, at) => void p.bytes.fill(0, at.chunk(FILE, 0), at.chunk(FILE, 3))],
];

/** Extended attributes follow the name and target of a symbolic link or file; those of the root follow "/". */
const XATTRS: readonly Row[] = [
  ["2^63 bytes", (p, at) => p.u64(at.tail("/"), NEGATIVE)],
  ["2^32 bytes", (p, at) => p.u64(at.tail("/"), 2 ** 32)],
  ["0 bytes", (p, at) => p.u64(at.tail("/"), 0), []],
  ["pair of 2^32 - 1 bytes", (p, at) => p.u32(at.tail("/") + 8, EVERY_BIT)],
  ["pair of 0 bytes", (p, at) => p.u32(at.tail("/") + 8, 0)],
  [
    "pair without NUL",
    (p, at) => void p.bytes.fill(0x61, at.tail("/") + 12, at.tail("/") + 8 + p.getU64(at.tail("/"))),
  ],
  ["name empty", (p, at) => p.u8(at.tail("/") + 12, 0)],
];

function rows(what: string, fixture: string, kinds: readonly Row[]): Damage[] {
  return kinds.map(([name, damage, fallout = "any"]) => ({
    name: `v5 ${what}: ${name}`,
    fixture,
    apply(copy) {
      damage(copy.bootstrap, new V5Places(copy), copy);
      return fallout;
    },
  }));
}

/** Damage to v5 bootstraps. */
export const V5_BOOTSTRAP: readonly Damage[] = [
  ...rows("super block", "v5-layers-merged", SUPER_BLOCK),
  ...rows("blob table", "v5-layers-merged", BLOBS),
  ...rows("inode", "v5-layers-merged", INODES),
  ...rows("chunk info", "v5-layers-merged", CHUNKS),
  ...rows("xattrs", "v5-odd-root", XATTRS),
];
