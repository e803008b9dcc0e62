/**
 * The two super blocks of RAFS v6 and the location of its tables.
 *
 * @module
 */
import { EROFS_MAGIC, EROFS_SUPER_OFFSET } from "../format/detect.ts";
import { checkChunkSize, has, IMAGE_FLAG, readImageFlags } from "../format/flags.ts";
import { checkDisjoint, checkRange, hex32, readU64, type Region, unreadable } from "../format/guard.ts";
import { BLOB, COMPAT_RAFS_V6, DEVICE, DEVICE_SLOT, EXT_SUPER, INCOMPAT_RAFS_V6, SUPER } from "./layout.ts";
import { CHUNK_INFO } from "../format/chunk_info.ts";

const WHAT = "RAFS v6 super block";

/** Both super blocks, validated. Offsets and sizes are in bytes; a table of size 0 does not exist. */
export interface SuperBlock {
  readonly blockBits: number;
  readonly blockSize: number;
  readonly rootNid: number;
  /** Inodes as counted by the builder; hard links may count more than once. */
  readonly inodeCount: number;
  /** Byte offset of nid 0. */
  readonly metaOffset: number;
  readonly deviceCount: number;
  readonly flags: number;
  readonly chunkSize: number;
  readonly devices: Region;
  readonly blobTable: Region;
  readonly chunkTable: Region;
  readonly prefetchTable: Region;
}

/**
 * Reads and checks both super blocks and the bounds of every table.
 *
 * Accepts the output of older builders: a constant `blocks` field, a prefetch size without an offset, and empty tables
 * at any offset.
 */
export function readSuperBlock(view: DataView): SuperBlock {
  const length = view.byteLength;
  checkRange(EROFS_SUPER_OFFSET, SUPER.SIZE, length, WHAT);
  checkRange(EXT_SUPER.AT, EXT_SUPER.SIZE, length, "RAFS v6 extended super block");
  const u8 = (field: number) => view.getUint8(EROFS_SUPER_OFFSET + field);
  const u16 = (field: number) => view.getUint16(EROFS_SUPER_OFFSET + field, true);
  const u32 = (field: number) => view.getUint32(EROFS_SUPER_OFFSET + field, true);
  const fail = (field: number, state: string) => unreadable(WHAT, EROFS_SUPER_OFFSET + field, state);
  const demand = (field: number, name: string, value: number, expected: number) => {
    if (value !== expected) fail(field, `${name} is ${hex32(value)}, expected ${hex32(expected)}`);
  };
  demand(SUPER.magic, "magic", u32(SUPER.magic), EROFS_MAGIC);
  demand(SUPER.checksum, "checksum", u32(SUPER.checksum), 0);
  const compat = u32(SUPER.featureCompat);
  if (!has(compat, COMPAT_RAFS_V6)) {
    fail(SUPER.featureCompat, `compatible features ${hex32(compat)} lack the RAFS v6 bit`);
  }
  demand(SUPER.extSlots, "extended slots", u8(SUPER.extSlots), 0);
  demand(SUPER.xattrBlock, "shared xattr block", u32(SUPER.xattrBlock), 0);
  demand(SUPER.featureIncompat, "incompatible features", u32(SUPER.featureIncompat), INCOMPAT_RAFS_V6);
  demand(SUPER.union, "compression configuration", u16(SUPER.union), 0);
  demand(SUPER.deviceSlot, "device slot", u16(SUPER.deviceSlot), DEVICE_SLOT);
  const blockBits = u8(SUPER.blockBits);
  const flags = readImageFlags(view, EXT_SUPER.AT + EXT_SUPER.flags, "RAFS v6 extended super block");
  demand(SUPER.blockBits, "block size bits", blockBits, has(flags, IMAGE_FLAG.tarfs) ? 9 : 12);
  const blockSize = 2 ** blockBits;
  if (length % blockSize !== 0) fail(0, `image has ${length} bytes, expected a multiple of ${blockSize}`);
  const inodeCount = readU64(view, EROFS_SUPER_OFFSET + SUPER.inodes, WHAT);
  if (inodeCount === 0) fail(SUPER.inodes, "inode count is 0");
  const deviceCount = u16(SUPER.extraDevices);
  if (deviceCount > 254) fail(SUPER.extraDevices, `${deviceCount} blobs, expected 254 at most`);
  return {
    blockBits,
    blockSize,
    rootNid: u16(SUPER.rootNid),
    inodeCount,
    metaOffset: u32(SUPER.metaBlock) * blockSize,
    deviceCount,
    flags,
    ...readTables(view, deviceCount),
  };
}

function readTables(view: DataView, deviceCount: number) {
  const what = "RAFS v6 extended super block";
  const at = (field: number) => EXT_SUPER.AT + field;
  const u32 = (field: number) => view.getUint32(at(field), true);
  const u64 = (field: number) => readU64(view, at(field), what);
  const chunkSize = u32(EXT_SUPER.chunkSize);
  checkChunkSize(chunkSize, what, at(EXT_SUPER.chunkSize));
  const table = (name: string, offset: number, size: number, unit: number, alignment: number): Region => {
    if (size % unit !== 0) unreadable(what, EXT_SUPER.AT, `${name} has ${size} bytes, expected a multiple of ${unit}`);
    if (size > 0 && offset % alignment !== 0) {
      unreadable(what, EXT_SUPER.AT, `${name} starts at ${offset}, expected a multiple of ${alignment}`);
    }
    return { name, at: offset, size };
  };
  const devices = { name: "device table", at: DEVICE.AT, size: deviceCount * DEVICE.SIZE };
  const blobTable = table("blob table", u64(EXT_SUPER.blobTableOffset), u32(EXT_SUPER.blobTableSize), BLOB.SIZE, 4096);
  const chunkTable = table(
    "chunk table",
    u64(EXT_SUPER.chunkTableOffset),
    u64(EXT_SUPER.chunkTableSize),
    CHUNK_INFO.SIZE,
    4096,
  );
  const prefetchAt = u64(EXT_SUPER.prefetchTableOffset);
  const prefetchSize = prefetchAt === 0 ? 0 : u32(EXT_SUPER.prefetchTableSize);
  const prefetchTable = table("prefetch table", prefetchAt, prefetchSize, 4, 4);
  if (blobTable.size !== deviceCount * BLOB.SIZE) {
    unreadable(
      what,
      at(EXT_SUPER.blobTableSize),
      `blob table has ${blobTable.size} bytes, expected those of ${deviceCount} devices`,
    );
  }
  const tables = { devices, blobTable, chunkTable, prefetchTable };
  checkDisjoint(tablesOf(tables), view.byteLength);
  return { chunkSize, ...tables };
}

/** Regions of the super blocks and their tables. */
export function tablesOf(
  { devices, blobTable, chunkTable, prefetchTable }: Pick<
    SuperBlock,
    "devices" | "blobTable" | "chunkTable" | "prefetchTable"
  >,
): Region[] {
  const superBlocks = { name: "super block", at: 0, size: EXT_SUPER.AT + EXT_SUPER.SIZE };
  return [superBlocks, devices, blobTable, chunkTable, prefetchTable];
}
