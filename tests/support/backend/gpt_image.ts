/**
 * Disk images with a GUID partition table, as partitioning tools write them: both headers, both copies of the entries.
 *
 * Source: UEFI specification 2.10, chapter 5.3. Shares no code with lib/backend/localdisk.
 *
 * @module
 */
import { crc32 } from "node:zlib";

/** "Linux filesystem data" and "Microsoft basic data". */
export const LINUX_DATA = "0fc63daf-8483-4772-8e79-3d69d8477de4";
export const BASIC_DATA = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7";

/** A partition to create. */
export interface NewPartition {
  readonly name: string;
  /** With dashes. */
  readonly guid: string;
  readonly type?: string;
  readonly firstLba: number;
  readonly lastLba: number;
  readonly data?: Uint8Array;
}

/** Layout of the disk. */
export interface DiskLayout {
  readonly sectorSize?: number;
  readonly sectors: number;
  readonly partitions: readonly NewPartition[];
  /** Entry count stated in the headers; at most as many entries are written as there are partitions. */
  readonly entryCount?: number;
  readonly entrySizeBytes?: number;
}

/** Name and GUID of the partition of a blob whose id has 32 hexadecimal digits. */
export function partitionOfBlob(id: string): Pick<NewPartition, "name" | "guid"> {
  const tail = id.slice(32);
  const cuts = [[0, 8], [8, 12], [12, 16], [16, 20], [20, 32]] as const;
  return { name: id.slice(0, 32), guid: cuts.map(([from, to]) => tail.slice(from, to)).join("-") };
}

/** Returns the bytes of the whole disk. */
export function gptImage(layout: DiskLayout): Uint8Array<ArrayBuffer> {
  const { sectorSize = 512, sectors, partitions, entryCount = 128, entrySizeBytes = 128 } = layout;
  const disk = new Uint8Array(sectors * sectorSize);
  disk.set([0x55, 0xaa], 510);
  const entries = new Uint8Array(Math.min(entryCount, 1024) * entrySizeBytes);
  for (const [index, partition] of partitions.entries()) {
    entries.set(entryOf(partition), index * entrySizeBytes);
    if (partition.data !== undefined) disk.set(partition.data, partition.firstLba * sectorSize);
  }
  const entrySectors = Math.ceil(entries.length / sectorSize);
  const last = sectors - 1;
  for (const [at, other, entriesAt] of [[1, last, 2], [last, 1, last - entrySectors]] as const) {
    const header = new DataView(new ArrayBuffer(92));
    new Uint8Array(header.buffer).set(new TextEncoder().encode("EFI PART"));
    header.setUint32(8, 0x10000, true);
    header.setUint32(12, 92, true);
    header.setBigUint64(24, BigInt(at), true);
    header.setBigUint64(32, BigInt(other), true);
    header.setBigUint64(40, BigInt(2 + entrySectors), true);
    header.setBigUint64(48, BigInt(last - entrySectors - 1), true);
    header.setBigUint64(72, BigInt(entriesAt), true);
    header.setUint32(80, entryCount, true);
    header.setUint32(84, entrySizeBytes, true);
    header.setUint32(88, crc32(entries), true);
    header.setUint32(16, crc32(new Uint8Array(header.buffer)), true);
    disk.set(new Uint8Array(header.buffer), at * sectorSize);
    disk.set(entries, entriesAt * sectorSize);
  }
  return disk;
}

function entryOf({ name, guid, type = LINUX_DATA, firstLba, lastLba }: NewPartition): Uint8Array {
  const entry = new DataView(new ArrayBuffer(128));
  for (const [at, text] of [[0, type], [16, guid]] as const) {
    const [a = "", b = "", c = "", d = "", e = ""] = text.split("-");
    entry.setUint32(at, parseInt(a, 16), true);
    entry.setUint16(at + 4, parseInt(b, 16), true);
    entry.setUint16(at + 6, parseInt(c, 16), true);
    new Uint8Array(entry.buffer).set(Uint8Array.fromHex(d + e), at + 8);
  }
  entry.setBigUint64(32, BigInt(firstLba), true);
  entry.setBigUint64(40, BigInt(lastLba), true);
  for (let i = 0; i < name.length; i++) entry.setUint16(56 + 2 * i, name.charCodeAt(i), true);
  return new Uint8Array(entry.buffer);
}
