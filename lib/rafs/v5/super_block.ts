/**
 * The super block of RAFS v5 and the location of its tables.
 *
 * @module
 */
import type { Compressor, Digester } from "../bootstrap.ts";
import { V5_MAGIC, V5_VERSION } from "../format/detect.ts";
import { checkChunkSize, compressorOf, digesterOf, readImageFlags } from "../format/flags.ts";
import { checkDisjoint, checkRange, hex32, readU64, type Region, unreadable } from "../format/guard.ts";
import { EXT_BLOB, SUPER, UNIT } from "./layout.ts";

const WHAT = "RAFS v5 super block";

/** The validated super block. Offsets and sizes are in bytes. */
export interface SuperBlock {
  readonly chunkSize: number;
  readonly flags: number;
  readonly compressor: Compressor;
  readonly digester: Digester;
  /** Number of inodes; hard links count once. */
  readonly inodeCount: number;
  /** Entries of the inode table: the number of directory entries, including the root. */
  readonly inodeEntries: number;
  readonly inodeTable: Region;
  readonly prefetchTable: Region;
  readonly blobTable: Region;
  readonly extBlobTable: Region;
}

/** Regions of the super block and its tables. */
export function tablesOf({ inodeTable, prefetchTable, blobTable, extBlobTable }: SuperBlock): Region[] {
  return [{ name: "super block", at: 0, size: SUPER.SIZE }, inodeTable, prefetchTable, blobTable, extBlobTable];
}

/** Reads the super block and checks the bounds of every table. */
export function readSuperBlock(view: DataView): SuperBlock {
  checkRange(0, SUPER.SIZE, view.byteLength, WHAT);
  const u32 = (field: number) => view.getUint32(field, true);
  const u64 = (field: number) => readU64(view, field, WHAT);
  const demand = (field: number, name: string, expected: number) => {
    if (u32(field) !== expected) {
      unreadable(WHAT, field, `${name} is ${hex32(u32(field))}, expected ${hex32(expected)}`);
    }
  };
  demand(SUPER.magic, "magic", V5_MAGIC);
  demand(SUPER.version, "version", V5_VERSION);
  demand(SUPER.size, "super block size", SUPER.SIZE);
  if (view.byteLength % UNIT !== 0) {
    unreadable(WHAT, 0, `image has ${view.byteLength} bytes, expected a multiple of ${UNIT}`);
  }
  checkChunkSize(u32(SUPER.blockSize), WHAT, SUPER.blockSize);
  const flags = readImageFlags(view, SUPER.flags, WHAT);
  const table = (name: string, at: number, size: number): Region => {
    if (size > 0 && (at < SUPER.SIZE || at % UNIT !== 0)) unreadable(WHAT, 0, `${name} starts at ${at}`);
    return { name, at, size };
  };
  const inodeEntries = u32(SUPER.inodeTableEntries);
  const inodeCount = u64(SUPER.inodeCount);
  if (inodeEntries === 0 || inodeCount === 0 || inodeCount > inodeEntries) {
    unreadable(WHAT, SUPER.inodeCount, `${inodeCount} inodes in an inode table of ${inodeEntries} entries`);
  }
  const extEntries = u32(SUPER.extBlobTableEntries);
  const sb: SuperBlock = {
    chunkSize: u32(SUPER.blockSize),
    flags,
    compressor: compressorOf(flags, "lz4_block", WHAT, SUPER.flags),
    digester: digesterOf(flags, "blake3", WHAT, SUPER.flags),
    inodeCount,
    inodeEntries,
    inodeTable: table("inode table", u64(SUPER.inodeTableOffset), inodeEntries * 4),
    prefetchTable: table("prefetch table", u64(SUPER.prefetchTableOffset), u32(SUPER.prefetchTableEntries) * 4),
    blobTable: table("blob table", u64(SUPER.blobTableOffset), u32(SUPER.blobTableSize)),
    extBlobTable: table("extended blob table", u64(SUPER.extBlobTableOffset), extEntries * EXT_BLOB.SIZE),
  };
  checkDisjoint(tablesOf(sb), view.byteLength);
  return sb;
}
