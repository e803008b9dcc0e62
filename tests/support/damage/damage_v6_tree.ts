/**
 * Kinds of damage to the tree of RAFS v6 bootstraps: inodes, directories, extended attributes.
 *
 * @module
 */
import { CHUNK_INDEX, DIRENT, EXTENDED } from "../../../lib/rafs/v6/layout.ts";
import type { Damage, Patch } from "./damage.ts";
import { type DamageRow, NEGATIVE, rows, type V6Places } from "./damage_v6_places.ts";

const inode = (path: string, field: number, value: number) => (p: Patch, at: V6Places) =>
  p.u16(at.inode(path) + field, value);
const sizeOf = (path: string, value: number | bigint) => (p: Patch, at: V6Places) =>
  p.u64(at.inode(path) + EXTENDED.size, value);
const index = (k: number, field: number, value: number) => (p: Patch, at: V6Places) =>
  p.u16(at.chunkIndex("/new3/f", k) + field, value);

const INODES: readonly DamageRow[] = [
  ["file is compact", inode("/keep/k2", 0, 8)],
  ["file is flat", inode("/keep/k2", 0, 1)],
  ["file is inline", inode("/keep/k2", 0, 5)],
  ["file is compressed", inode("/keep/k2", 0, 3)],
  ["unknown format bits", inode("/keep/k2", 0, 0xff09)],
  ["directory is compact", inode("/opq", 0, 4)],
  ["directory is in chunks", inode("/opq", 0, 9)],
  ["file is a directory", inode("/keep/k2", EXTENDED.mode, 0o040755)],
  ["file is a symbolic link", inode("/keep/k2", EXTENDED.mode, 0o120777)],
  ["file is of no type", inode("/keep/k2", EXTENDED.mode, 0o644)],
  ["file is a device", inode("/keep/k2", EXTENDED.mode, 0o020644)],
  ["file is a setuid block device of every number", (p, at) => {
    p.u16(at.inode("/keep/k2") + EXTENDED.mode, 0o066755);
    p.u32(at.inode("/keep/k2") + EXTENDED.union, 0xffffffff);
  }],
  ["file is a FIFO", inode("/keep/k2", EXTENDED.mode, 0o010644)],
  ["file is a socket", inode("/keep/k2", EXTENDED.mode, 0o140755)],
  ["file has an invalid type", inode("/keep/k2", EXTENDED.mode, 0o170644)],
  ["file of the last owner", (p, at) => p.u64(at.inode("/keep/k2") + EXTENDED.uid, (1n << 64n) - 1n)],
  ["directory is a file", inode("/opq", EXTENDED.mode, 0o100644)],
  ["directory is a symbolic link", inode("/opq/deep", EXTENDED.mode, 0o120777)],
  ["symbolic link is a file", inode("/etc/link", EXTENDED.mode, 0o100644)],
  ["file of 2^63 bytes", sizeOf("/keep/k2", NEGATIVE)],
  ["file of 2^50 bytes", sizeOf("/keep/k2", 2 ** 50)],
  ["file of 256 MiB", sizeOf("/keep/k2", 1 << 28)],
  ["file a byte longer", sizeOf("/keep/k2", 90001)],
  ["file a byte shorter", sizeOf("/keep/k2", 89999)],
  ["file a chunk longer", sizeOf("/keep/k2", 90000 + 65536)],
  ["file of one whole chunk", sizeOf("/keep/k2", 65536)],
  ["file without links", (p, at) => p.u32(at.inode("/keep/k2") + EXTENDED.nlink, 0), []],
  ["file with 2^32 links", (p, at) => p.u32(at.inode("/keep/k2") + EXTENDED.nlink, 0xffffffff)],
  ["mtime of 2^32 nanoseconds", (p, at) => p.u32(at.inode("/keep/k2") + EXTENDED.mtimeNsec, 0xffffffff)],
  ["mtime of 2^53 - 1 seconds", (p, at) => p.u64(at.inode("/keep/k2") + EXTENDED.mtime, 2 ** 53 - 1)],
  ["mtime of -2^53 + 1 seconds", (p, at) => p.u64(at.inode("/keep/k2") + EXTENDED.mtime, (1n << 64n) - 2n ** 53n + 1n)],
  ["mtime of 2^63 seconds", (p, at) => p.u64(at.inode("/keep/k2") + EXTENDED.mtime, NEGATIVE)],
  ["chunk format", (p, at) => p.u32(at.inode("/keep/k2") + EXTENDED.union, 0xffffffff), []],
  ["65535 xattrs", inode("/keep/k2", EXTENDED.xattrCount, 0xffff)],
  ["one xattr", inode("/keep/k2", EXTENDED.xattrCount, 1)],
  ["9 xattrs", inode("/etc/link", EXTENDED.xattrCount, 9)],
  ["symbolic link of 0 bytes", sizeOf("/etc/link", 0)],
  ["symbolic link of 4097 bytes", sizeOf("/etc/link", 4097)],
  ["symbolic link of 2^63 bytes", sizeOf("/etc/link", NEGATIVE)],
  ["symbolic link longer than its target", sizeOf("/etc/link", 40)],
  ["symbolic link with NUL", (p, at) => p.u8(at.tail("/etc/link") + 3, 0)],
  ["symbolic link in a block far away", (p, at) => {
    p.u16(at.inode("/etc/link"), 1);
    p.u32(at.inode("/etc/link") + EXTENDED.union, 0xffffffff);
  }],
  ["directory of 0 bytes", sizeOf("/opq", 0)],
  ["directory of 5 bytes", sizeOf("/opq", 5)],
  ["directory of 2^63 bytes", sizeOf("/opq", NEGATIVE)],
  ["directory of 2^40 bytes", sizeOf("/opq", 2 ** 40)],
  ["directory of two blocks", sizeOf("/opq", 5000)],
  ["root directory of 0 bytes", sizeOf("/", 0)],
  ["chunk of blob 0 - 1", index(1, CHUNK_INDEX.device, 0)],
  ["chunk of a blob beyond the table", index(1, CHUNK_INDEX.device, 200)],
  ["chunk of another blob", (p, at) => {
    const to = at.chunkIndex("/new3/f", 1) + CHUNK_INDEX.device;
    p.u8(to, p.getU8(to) % 3 + 1);
  }],
  ["chunk beyond the compression info", index(1, CHUNK_INDEX.ciLow, 0xffff)],
  ["chunk far beyond the compression info", (p, at) => p.u8(at.chunkIndex("/new3/f", 1) + 3, 0xff)],
  [
    "chunk another of the same size",
    (p, at) => p.u16(at.chunkIndex("/new3/f", 1), p.getU16(at.chunkIndex("/new3/f", 0))),
  ],
  ["block address another chunk's", (p, at) => {
    const block = at.chunkIndex("/new3/f", 0) + CHUNK_INDEX.block;
    p.u32(at.chunkIndex("/new3/f", 1) + CHUNK_INDEX.block, p.getU32(block));
  }],
  ["block address a block further", (p, at) => {
    const block = at.chunkIndex("/new3/f", 1) + CHUNK_INDEX.block;
    p.u32(block, p.getU32(block) + 1);
  }],
  ["block address huge", (p, at) => p.u32(at.chunkIndex("/new3/f", 2) + CHUNK_INDEX.block, 0xffffffff)],
  [
    "chunk of another length",
    (p, at) =>
      void p.bytes.copyWithin(at.chunkIndex("/new3/f", 2), at.chunkIndex("/new3/f", 1), at.chunkIndex("/new3/f", 2)),
  ],
  ["chunk indexes zeros", (p, at) => void p.bytes.fill(0, at.chunkIndex("/new3/f", 0), at.chunkIndex("/new3/f", 3))],
];

const nid = (path: string, k: number, value: number | bigint) => (p: Patch, at: V6Places) =>
  p.u64(at.dirent(path, k) + DIRENT.nid, value);
const nameOffset = (path: string, k: number, value: number) => (p: Patch, at: V6Places) =>
  p.u16(at.dirent(path, k) + DIRENT.nameOffset, value);

// Entries 0 and 1 are "." and ".."; from 2 on, "/opq" has "deep", "new"; "/etc" has "chmod", "link", …; "/" has "app".

/** Sets the first name after "." and ".." to exactly this one; the rest of it becomes part of the next name. */
const firstNameOf = (path: string, name: string) => (p: Patch, at: V6Places) => {
  p.text(at.nameOf(path, 2), name);
  p.u16(at.dirent(path, 3) + DIRENT.nameOffset, p.getU16(at.dirent(path, 2) + DIRENT.nameOffset) + name.length);
};

const DIRECTORIES: readonly DamageRow[] = [
  ["names at 0", nameOffset("/etc", 0, 0)],
  ["names at 7", nameOffset("/etc", 0, 7)],
  ["names beyond the block", nameOffset("/etc", 0, 0xfffc)],
  ["fewer entries", nameOffset("/etc", 0, 24)],
  ["name beyond the block", nameOffset("/etc", 3, 0xffff)],
  ["name before its predecessor", nameOffset("/etc", 3, 1)],
  [
    "name empty",
    (p, at) => p.u16(at.dirent("/etc", 3) + DIRENT.nameOffset, p.getU16(at.dirent("/etc", 4) + DIRENT.nameOffset)),
  ],
  ["directory is its parent", (p, at, copy) => nid("/opq", 2, copy.ino("/"))(p, at)],
  ["directory is itself", (p, at, copy) => nid("/opq", 2, copy.ino("/opq"))(p, at)],
  ["directory is another directory", (p, at, copy) => nid("/opq", 2, copy.ino("/etc"))(p, at)],
  ["directory is a file", (p, at, copy) => nid("/opq", 2, copy.ino("/etc/chmod"))(p, at)],
  ["file is a directory", (p, at, copy) => nid("/etc", 2, copy.ino("/opq"))(p, at)],
  ["nid 0", nid("/etc", 2, 0)],
  ["nid beyond the image", nid("/etc", 2, 0xffffffff)],
  ["nid 2^63", nid("/etc", 2, NEGATIVE)],
  ["nid 2^40 + 5", nid("/etc", 2, 2 ** 40 + 5)],
  ["nid between inodes", (p, at, copy) => nid("/etc", 2, copy.ino("/etc/chmod") + 1)(p, at)],
  ["name with a slash", (p, at) => p.text(at.nameOf("/etc", 2), "c/mod")],
  ["name with NUL", (p, at) => p.text(at.nameOf("/etc", 2), "c\0mod")],
  ["name ..", (p, at) => p.text(at.nameOf("/etc", 2), "../..")],
  ["name .", firstNameOf("/etc", ".")],
  ["name .. in full", firstNameOf("/etc", "../..")],
  ["name of a slash", firstNameOf("/etc", "/")],
  ["directory is the directory that holds its parent", (p, at, copy) => nid("/opq/deep", 2, copy.ino("/opq"))(p, at)],
  ["names not in order", (p, at) => p.text(at.nameOf("/etc", 2), "zzzzz")],
  ["two names alike", (p, at) => p.text(at.nameOf("/etc", 4), "link\0")],
  ["entries exchanged", (p, at) => p.swap(at.dirent("/etc", 2), at.dirent("/etc", 3), DIRENT.SIZE)],
  ["type unknown", (p, at) => p.u8(at.dirent("/etc", 2) + DIRENT.type, 99)],
  ["type another", (p, at) => p.u8(at.dirent("/etc", 2) + DIRENT.type, 2)],
  [". is another directory", (p, at, copy) => nid("/opq", 0, copy.ino("/etc"))(p, at)],
  [".. is another directory", (p, at, copy) => nid("/opq", 1, copy.ino("/etc"))(p, at)],
  [".. of the root is another directory", (p, at, copy) => nid("/", 1, copy.ino("/etc"))(p, at)],
];

/** Attributes of "/", the only inode that has any. */
const XATTRS: readonly DamageRow[] = [
  ["shared attributes", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 4, 1)],
  ["name of 255 bytes", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 12, 255)],
  ["name empty", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 12, 0)],
  ["prefix 0", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 13, 0)],
  ["prefix of Lustre", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 13, 5)],
  ["prefix one beyond the last", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 13, 7)],
  ["prefix that is a whole name, with a name behind it", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 13, 2)],
  ["prefix unknown", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 13, 99)],
  ["value of 65535 bytes", (p, at) => p.u16(at.inode("/") + EXTENDED.SIZE + 14, 0xffff)],
  ["name with NUL", (p, at) => p.u8(at.inode("/") + EXTENDED.SIZE + 17, 0)],
  ["more than there are", (p, at) => p.u16(at.inode("/") + EXTENDED.xattrCount, 0xfff0), "refused"],
];

/** Damage to trees. */
export const V6_TREE: readonly Damage[] = [
  ...rows("inode", "v6-layers-merged", INODES),
  ...rows("directory", "v6-layers-merged", DIRECTORIES),
  ...rows("xattrs", "v6-odd-root", XATTRS),
];
