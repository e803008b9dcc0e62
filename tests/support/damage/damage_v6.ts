/**
 * Kinds of damage to RAFS v6 bootstraps.
 *
 * @module
 */
import { CHUNK_INFO } from "../../../lib/rafs/format/chunk_info.ts";
import { BLOB, DEVICE, EXT_SUPER, SUPER } from "../../../lib/rafs/v6/layout.ts";
import type { Damage, Patch } from "./damage.ts";
import { BLOCK, type DamageRow, ext, NEGATIVE, rows, sb, type V6Places } from "./damage_v6_places.ts";
import { V6_TREE } from "./damage_v6_tree.ts";

const SUPER_BLOCK: readonly DamageRow[] = [
  ["magic", (p) => p.flip(sb(SUPER.magic)), "refused"],
  ["checksum", (p) => p.flip(sb(SUPER.checksum)), "refused"],
  ["no RAFS bit", (p) => p.u32(sb(SUPER.featureCompat), 0), "refused"],
  ["block size of 2 bytes", (p) => p.u8(sb(SUPER.blockBits), 1), "refused"],
  ["block size of 2^255 bytes", (p) => p.u8(sb(SUPER.blockBits), 255), "refused"],
  ["block size of 512 bytes", (p) => p.u8(sb(SUPER.blockBits), 9), "refused"],
  ["extended slots", (p) => p.u8(sb(SUPER.extSlots), 1), "refused"],
  ["root nid 0", (p) => p.u16(sb(SUPER.rootNid), 0), "refused"],
  ["root nid of the last inode", (p) => p.u16(sb(SUPER.rootNid), 0xffff), "refused"],
  ["root nid of a file", (p, _, copy) => p.u16(sb(SUPER.rootNid), copy.ino("/keep/k2")), "refused"],
  ["root nid between inodes", (p, _, copy) => p.u16(sb(SUPER.rootNid), copy.ino("/etc") + 1)],
  ["root nid of another directory", (p, _, copy) => p.u16(sb(SUPER.rootNid), copy.ino("/opq/deep"))],
  ["no inodes", (p) => p.u64(sb(SUPER.inodes), 0), "refused"],
  ["2^63 inodes", (p) => p.u64(sb(SUPER.inodes), NEGATIVE), "refused"],
  ["2^50 inodes", (p) => p.u64(sb(SUPER.inodes), 2 ** 50)],
  ["number of blocks", (p) => p.u32(sb(SUPER.blocks), 0xffffffff)],
  ["metadata start 0", (p) => p.u32(sb(SUPER.metaBlock), 0)],
  ["metadata start a block later", (p) => p.u32(sb(SUPER.metaBlock), p.getU32(sb(SUPER.metaBlock)) + 1)],
  ["metadata start beyond the end", (p) => p.u32(sb(SUPER.metaBlock), 0xffffffff), "refused"],
  ["shared xattrs", (p) => p.u32(sb(SUPER.xattrBlock), 1), "refused"],
  ["compression feature", (p) => p.u32(sb(SUPER.featureIncompat), 0xd), "refused"],
  ["no device table feature", (p) => p.u32(sb(SUPER.featureIncompat), 4), "refused"],
  ["compression configuration", (p) => p.u16(sb(SUPER.union), 1), "refused"],
  ["no devices", (p) => p.u16(sb(SUPER.extraDevices), 0), "refused"],
  ["a device more", (p) => p.u16(sb(SUPER.extraDevices), 4), "refused"],
  ["65535 devices", (p) => p.u16(sb(SUPER.extraDevices), 0xffff), "refused"],
  ["device slot 0", (p) => p.u16(sb(SUPER.deviceSlot), 0), "refused"],
  ["device slot 65535", (p) => p.u16(sb(SUPER.deviceSlot), 0xffff), "refused"],
  ["device tags", (p) => p.text(DEVICE.AT, "../../../etc/passwd")],
  ["device blocks", (p) => p.u32(DEVICE.AT + DEVICE.blocks, 0xffffffff)],
  ["no flags", (p) => p.u64(ext(EXT_SUPER.flags), 0), "refused"],
  ["all flags", (p) => p.u64(ext(EXT_SUPER.flags), (1n << 64n) - 1n), "refused"],
  ["two compressors", (p) => p.u8(ext(EXT_SUPER.flags), p.getU8(ext(EXT_SUPER.flags)) | 3), "refused"],
  ["two digesters", (p) => p.u8(ext(EXT_SUPER.flags), p.getU8(ext(EXT_SUPER.flags)) | 12), "refused"],
  ["TARFS flag", (p) => p.u8(ext(EXT_SUPER.flags) + 1, 2), "refused"],
  ["encryption flag", (p) => p.u8(ext(EXT_SUPER.flags) + 3, 2)],
  ["blob table at 0", (p) => p.u64(ext(EXT_SUPER.blobTableOffset), 0), "refused"],
  ["blob table not at a block", (p) => p.u64(ext(EXT_SUPER.blobTableOffset), 4097), "refused"],
  ["blob table at a negative offset", (p) => p.u64(ext(EXT_SUPER.blobTableOffset), NEGATIVE), "refused"],
  ["blob table beyond the end", (p) => p.u64(ext(EXT_SUPER.blobTableOffset), 1 << 30), "refused"],
  ["blob table over other things", (p) => p.u64(ext(EXT_SUPER.blobTableOffset), 8192), "refused"],
  ["blob table of 4 GiB", (p) => p.u32(ext(EXT_SUPER.blobTableSize), 0xffffff00), "refused"],
  ["blob table of half an entry", (p) => p.u32(ext(EXT_SUPER.blobTableSize), 128), "refused"],
  ["chunk size 0", (p) => p.u32(ext(EXT_SUPER.chunkSize), 0), "refused"],
  ["chunk size 1 GiB", (p) => p.u32(ext(EXT_SUPER.chunkSize), 1 << 30), "refused"],
  ["chunk size twice as large", (p) => p.u32(ext(EXT_SUPER.chunkSize), 1 << 17), "refused"],
  ["chunk size twice as large everywhere", (p, at) => {
    p.u32(ext(EXT_SUPER.chunkSize), 1 << 17);
    for (const i of [0, 1, 2]) p.u32(at.blob(i) + BLOB.chunkSize, 1 << 17);
  }],
  ["chunk size half as large everywhere", (p, at) => {
    p.u32(ext(EXT_SUPER.chunkSize), 1 << 15);
    for (const i of [0, 1, 2]) p.u32(at.blob(i) + BLOB.chunkSize, 1 << 15);
  }],
  ["chunk table over the blob table", (p, at) => p.u64(ext(EXT_SUPER.chunkTableOffset), at.blob(0)), "refused"],
  ["chunk table at a negative offset", (p) => p.u64(ext(EXT_SUPER.chunkTableOffset), NEGATIVE), "refused"],
  ["chunk table a block earlier", (p, at) => p.u64(ext(EXT_SUPER.chunkTableOffset), at.chunk(0) - BLOCK)],
  ["chunk table empty", (p) => p.u64(ext(EXT_SUPER.chunkTableSize), 0)],
  ["chunk table of 2^60 bytes", (p) => p.u64(ext(EXT_SUPER.chunkTableSize), 80n << 54n), "refused"],
  ["chunk table of half an entry", (p) => p.u64(ext(EXT_SUPER.chunkTableSize), 40), "refused"],
  ["chunk table shorter", (p, at) => p.u64(ext(EXT_SUPER.chunkTableSize), (at.chunkCount - 5) * CHUNK_INFO.SIZE)],
  ["prefetch table beyond the end", (p) => {
    p.u64(ext(EXT_SUPER.prefetchTableOffset), 1 << 30);
    p.u32(ext(EXT_SUPER.prefetchTableSize), 4);
  }, "refused"],
  ["prefetch table over everything", (p) => {
    p.u64(ext(EXT_SUPER.prefetchTableOffset), 4);
    p.u32(ext(EXT_SUPER.prefetchTableSize), 0xfffffffc);
  }, "refused"],
];

/** Damage to the bootstrap as a whole. */
const WHOLE: readonly DamageRow[] = [
  ...[0, 3, 100, 1023, 1028, 1200, 4096, 8192, 12289].map((length): DamageRow => [
    `cut to ${length} bytes`,
    (p, _, copy) => copy.replaceBootstrap(p.bytes.slice(0, length)),
    "refused",
  ]),
  ["cut by one byte", (p, _, copy) => copy.replaceBootstrap(p.bytes.slice(0, -1)), "refused"],
  ["zeros of its size", (p) => void p.bytes.fill(0), "refused"],
  ["ones of its size", (p) => void p.bytes.fill(0xff), "refused"],
  ["shifted by one byte", (p) => void p.bytes.copyWithin(1, 0), "refused"],
  ["metadata all zeros", (p, at) => void p.bytes.fill(0, at.inode("/") - at.inode("/") % BLOCK), "any"],
];

const blobU32 = (field: number, value: number) => (p: Patch, at: V6Places) => p.u32(at.blob(0) + field, value);
const blobU64 = (field: number, value: number | bigint) => (p: Patch, at: V6Places) => p.u64(at.blob(0) + field, value);
const blobId = (id: string) => (p: Patch, at: V6Places) => p.text(at.blob(0), id);

const BLOB_TABLE: readonly DamageRow[] = [
  ["id with ../", blobId("../../../../etc/passwd"), "refused"],
  ["id with a slash", blobId("ab/cd"), "refused"],
  ["id absolute", blobId("/etc/passwd"), "refused"],
  ["id empty", blobId("\0"), "refused"],
  ["id of three letters", blobId("abc\0")],
  ["id with a new line", blobId("a\nb"), "refused"],
  [
    "id of another blob of the image",
    (p, at) => void p.bytes.copyWithin(at.blob(0), at.blob(1), at.blob(1) + 64),
    "refused",
  ],
  ["ids exchanged", (p, at) => p.swap(at.blob(0), at.blob(1), 64)],
  ["entries exchanged", (p, at) => p.swap(at.blob(0), at.blob(1), BLOB.SIZE), "refused"],
  ["entries exchanged but for their index", (p, at) => {
    p.swap(at.blob(0), at.blob(1), BLOB.SIZE);
    p.swap(at.blob(0) + BLOB.index, at.blob(1) + BLOB.index, 4);
  }],
  ["index", blobU32(BLOB.index, 7), "refused"],
  ["chunk size", blobU32(BLOB.chunkSize, 4096), "refused"],
  ["no chunks", blobU32(BLOB.chunkCount, 0)],
  ["a chunk less", blobU32(BLOB.chunkCount, 7)],
  ["a chunk more", blobU32(BLOB.chunkCount, 9), "refused"],
  ["2^24 chunks", blobU32(BLOB.chunkCount, 1 << 24), "refused"],
  ["2^32 chunks", blobU32(BLOB.chunkCount, 0xffffffff), "refused"],
  ["2^24 chunks that its compression info claims to hold", (p, at) => {
    p.u32(at.blob(0) + BLOB.chunkCount, 1 << 24);
    p.u64(at.blob(0) + BLOB.ciUncompressedSize, 16 << 24);
  }, "refused"],
  ["2^24 chunks of a dictionary", (p, at) => {
    p.u32(at.blob(0) + BLOB.chunkCount, 1 << 24);
    p.u32(at.blob(0) + BLOB.features, p.getU32(at.blob(0) + BLOB.features) | 0x200);
    p.u64(at.blob(0) + BLOB.ciUncompressedSize, 2 ** 32);
  }, "refused"],
  ["compression info of 2^40 bytes of a dictionary", (p, at) => {
    p.u32(at.blob(0) + BLOB.features, p.getU32(at.blob(0) + BLOB.features) | 0x200);
    p.u64(at.blob(0) + BLOB.ciUncompressedSize, 2 ** 40);
  }, "refused"],
  ["compression info of 2^31 stored bytes of a dictionary without ToC", (p, at) => {
    p.u32(at.blob(0) + BLOB.features, 0x201);
    p.u64(at.blob(0) + BLOB.ciUncompressedSize, 2 ** 31);
    p.u64(at.blob(0) + BLOB.ciCompressedSize, 2 ** 31);
  }, "refused"],
  ["compressor none", blobU32(BLOB.compressor, 0)],
  ["compressor lz4", blobU32(BLOB.compressor, 1)],
  ["compressor gzip", blobU32(BLOB.compressor, 2)],
  ["compressor unknown", blobU32(BLOB.compressor, 9), "refused"],
  ["digester another", blobU32(BLOB.digester, 1)],
  ["digester unknown", blobU32(BLOB.digester, 2), "refused"],
  ["no features", blobU32(BLOB.features, 0), "refused"],
  ["all features", blobU32(BLOB.features, 0xffffffff), "refused"],
  ["feature V2", blobU32(BLOB.features, 0x40000005), "refused"],
  ["feature batch without V2", blobU32(BLOB.features, 0x40000081), "refused"],
  ["feature ZRAN", blobU32(BLOB.features, 0x4000000d), "refused"],
  ["feature separate", blobU32(BLOB.features, 0x40000011)],
  ["feature external", blobU32(BLOB.features, 0x40000801)],
  ["feature of a tail header", blobU32(BLOB.features, 0x50000001)],
  ["feature inlined digests", blobU32(BLOB.features, 0x40000021)],
  ["stored size 0", blobU64(BLOB.compressedSize, 0)],
  ["stored size 2^63", blobU64(BLOB.compressedSize, NEGATIVE), "refused"],
  ["stored size 2^40", blobU64(BLOB.compressedSize, 2 ** 40)],
  ["plain size 0", blobU64(BLOB.uncompressedSize, 0)],
  ["plain size of a block", blobU64(BLOB.uncompressedSize, BLOCK)],
  ["plain size 2^44", blobU64(BLOB.uncompressedSize, 2 ** 44)],
  ["plain size 2^63", blobU64(BLOB.uncompressedSize, NEGATIVE), "refused"],
  ["compressor of the compression info none", blobU32(BLOB.ciCompressor, 0)],
  ["compressor of the compression info unknown", blobU32(BLOB.ciCompressor, 77), "refused"],
  ["compression info at 0", blobU64(BLOB.ciOffset, 0)],
  ["compression info at 2^63", blobU64(BLOB.ciOffset, NEGATIVE), "refused"],
  ["compression info beyond the blob", blobU64(BLOB.ciOffset, 1 << 24), "refused"],
  ["compression info of 0 stored bytes", blobU64(BLOB.ciCompressedSize, 0)],
  ["compression info of 2^40 stored bytes", blobU64(BLOB.ciCompressedSize, 2 ** 40), "refused"],
  ["compression info of 0 plain bytes", blobU64(BLOB.ciUncompressedSize, 0), "refused"],
  ["compression info of 2^40 plain bytes", blobU64(BLOB.ciUncompressedSize, 2 ** 40), "refused"],
  ["cipher", blobU32(BLOB.cipher, 1), "refused"],
];

const everyChunk = (field: number, value: number) => (p: Patch, at: V6Places) => {
  for (let k = 0; k < at.chunkCount; k++) p.u32(at.chunk(k) + field, value);
};

const CHUNK_TABLE: readonly DamageRow[] = [
  ["bit of a digest", (p, at) => p.flip(at.chunk(3) + 7)],
  ["last bit of the last digest", (p, at) => p.flip(at.chunk(at.chunkCount - 1) + 31)],
  ["digests of two chunks exchanged", (p, at) => p.swap(at.chunk(0), at.chunk(1), 32)],
  ["a digest zero", (p, at) => void p.bytes.fill(0, at.chunk(2), at.chunk(2) + 32)],
  ["every digest zero", (p, at) => {
    for (let k = 0; k < at.chunkCount; k++) p.bytes.fill(0, at.chunk(k), at.chunk(k) + 32);
  }],
  ["every byte zero", (p, at) => void p.bytes.fill(0, at.chunk(0), at.chunk(at.chunkCount))],
  ["one entry twice", (p, at) => void p.bytes.copyWithin(at.chunk(1), at.chunk(0), at.chunk(1))],
  ["one chunk with two digests", (p, at) => {
    p.bytes.copyWithin(at.chunk(1), at.chunk(0), at.chunk(1));
    p.flip(at.chunk(1));
  }],
  ["entries exchanged", (p, at) => p.swap(at.chunk(0), at.chunk(4), CHUNK_INFO.SIZE), []],
  ["blob too large", (p, at) => p.u32(at.chunk(0) + CHUNK_INFO.blobIndex, 3)],
  ["every blob too large", everyChunk(CHUNK_INFO.blobIndex, 0xffffffff)],
  [
    "blob another",
    (p, at) => p.u32(at.chunk(0) + CHUNK_INFO.blobIndex, (p.getU32(at.chunk(0) + CHUNK_INFO.blobIndex) + 1) % 3),
  ],
  ["chunk beyond the blob", (p, at) => p.u32(at.chunk(0) + CHUNK_INFO.index, 0xffffffff)],
  ["every chunk the first", everyChunk(CHUNK_INFO.index, 0)],
  ["plain size 0", everyChunk(CHUNK_INFO.uncompressedSize, 0)],
  ["plain size huge", everyChunk(CHUNK_INFO.uncompressedSize, 0xffffffff)],
  ["plain offset moved", (p, at) => p.flip(at.chunk(5) + CHUNK_INFO.uncompressedOffset + 1)],
  ["plain offset negative", (p, at) => p.u64(at.chunk(5) + CHUNK_INFO.uncompressedOffset, NEGATIVE)],
  ["stored offset huge", (p, at) => p.u64(at.chunk(5) + CHUNK_INFO.compressedOffset, NEGATIVE)],
  ["every flag", everyChunk(CHUNK_INFO.flags, 0xffffffff)],
  ["every CRC", everyChunk(CHUNK_INFO.crc32, 1)],
];

const PREFETCH: readonly DamageRow[] = [
  ["inode beyond the image", (p) => p.u32(p.getU64(ext(EXT_SUPER.prefetchTableOffset)), 0xffffffff), []],
  ["an inode that does not exist", (p) => p.u32(p.getU64(ext(EXT_SUPER.prefetchTableOffset)), 1), []],
  ["half an entry", (p) => p.u32(ext(EXT_SUPER.prefetchTableSize), 3), "refused"],
  ["4 GiB of it", (p) => p.u32(ext(EXT_SUPER.prefetchTableSize), 0xfffffffc), "refused"],
];

/** Damage to v6 bootstraps. */
export const V6_BOOTSTRAP: readonly Damage[] = [
  ...rows("super block", "v6-layers-merged", SUPER_BLOCK),
  ...rows("bootstrap", "v6-layers-merged", WHOLE),
  ...rows("blob table", "v6-layers-merged", BLOB_TABLE),
  ...rows("chunk table", "v6-layers-merged", CHUNK_TABLE),
  ...rows("prefetch table", "v6-prefetch-fs", PREFETCH),
  ...V6_TREE,
];
