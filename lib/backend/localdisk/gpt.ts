/**
 * Parser of GUID partition tables. Checks header and entries by their CRCs.
 *
 * ```
 * LBA 0         protective MBR
 * LBA 1         header ──► entries            last LBA   backup header ──► its own copy of the entries
 * ```
 * Little-endian. Pure functions of bytes: the caller reads sectors and chooses between the two headers. Source: UEFI
 * specification 2.10, chapter 5.3.
 *
 * @throws {GptError} for a missing or damaged table
 * @module
 */
import { readU64, toHex } from "../../base/bytes.ts";
import { nodeZlib } from "../../base/node_modules.ts";

/** GPT header, UEFI 2.10 table 5.5: byte offsets. */
const HEADER = {
  SIZE: 92,
  signature: 0,
  headerSize: 12,
  headerCrc: 16,
  myLba: 24,
  alternateLba: 32,
  entriesLba: 72,
  entryCount: 80,
  entrySize: 84,
  entriesCrc: 88,
} as const;

/** GPT partition entry, UEFI 2.10 table 5.6: byte offsets. */
const ENTRY = { SIZE: 128, typeGuid: 0, guid: 16, firstLba: 32, lastLba: 40, name: 56, NAME_SIZE: 72 } as const;

const SIGNATURE = "EFI PART";
const UNUSED = "00000000000000000000000000000000";

/** More entries than any tool writes (128), yet few enough to read them on each access. */
const MAX_ENTRIES = 1024;
const MAX_ENTRY_SIZE = 4096;

/** Sector sizes of disks, most common first. */
export const SECTOR_SIZES = [512, 4096] as const;

/** Microsoft's basic data partition, in the form of {@link GptPartition.typeGuid}. */
export const BASIC_DATA = "ebd0a0a2b9e5443387c068b6b72699c7";

/** A missing, damaged or inconsistent table. The message is a state: "the header's checksum is wrong". */
export class GptError extends Error {
  override readonly name = "GptError";
}

/** The position of the entries, in sectors from the start of the disk. */
export interface GptHeader {
  readonly myLba: number;
  readonly alternateLba: number;
  readonly entriesLba: number;
  readonly entryCount: number;
  readonly entrySizeBytes: number;
  readonly entriesCrc: number;
}

/** One partition in use. */
export interface GptPartition {
  /** Counted from 1, as tools do. */
  readonly number: number;
  /** 32 hexadecimal digits, in the order in which a GUID is written. */
  readonly typeGuid: string;
  readonly guid: string;
  readonly name: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** Whether a sector starts with the signature of a header. */
export function isGptHeader(sector: Uint8Array): boolean {
  return new TextDecoder().decode(sector.subarray(HEADER.signature, SIGNATURE.length)) === SIGNATURE;
}

/** Parses the header in sector `lba`. */
export function parseGptHeader(sector: Uint8Array, lba: number): GptHeader {
  if (!isGptHeader(sector)) throw new GptError("there is no GPT header");
  const view = viewOf(sector);
  const size = view.getUint32(HEADER.headerSize, true);
  if (size < HEADER.SIZE || size > sector.length) throw new GptError(`the header's size is ${size}`);
  const copy = sector.slice(0, size);
  viewOf(copy).setUint32(HEADER.headerCrc, 0, true);
  if (nodeZlib().crc32(copy) !== view.getUint32(HEADER.headerCrc, true)) {
    throw new GptError("the header's checksum is wrong");
  }
  const header = {
    myLba: u64(view, HEADER.myLba),
    alternateLba: u64(view, HEADER.alternateLba),
    entriesLba: u64(view, HEADER.entriesLba),
    entryCount: view.getUint32(HEADER.entryCount, true),
    entrySizeBytes: view.getUint32(HEADER.entrySize, true),
    entriesCrc: view.getUint32(HEADER.entriesCrc, true),
  };
  if (header.myLba !== lba) throw new GptError(`the header is for sector ${header.myLba}`);
  if (header.entryCount > MAX_ENTRIES) {
    throw new GptError(`it has ${header.entryCount} entries, more than ${MAX_ENTRIES}`);
  }
  const { entrySizeBytes } = header;
  if (entrySizeBytes < ENTRY.SIZE || entrySizeBytes > MAX_ENTRY_SIZE || entrySizeBytes % 8 !== 0) {
    throw new GptError(`its entries have ${entrySizeBytes} bytes`);
  }
  return header;
}

/** Parses the bytes of all entries and returns the partitions in use. */
export function parseGptEntries(header: GptHeader, entries: Uint8Array, sectorSize: number): GptPartition[] {
  if (nodeZlib().crc32(entries) !== header.entriesCrc) throw new GptError("the entries' checksum is wrong");
  const partitions: GptPartition[] = [];
  for (let index = 0; index < header.entryCount; index++) {
    const entry = entries.subarray(index * header.entrySizeBytes, (index + 1) * header.entrySizeBytes);
    const typeGuid = guidAt(entry, ENTRY.typeGuid);
    if (typeGuid === UNUSED) continue;
    const view = viewOf(entry);
    const [first, last] = [u64(view, ENTRY.firstLba), u64(view, ENTRY.lastLba)];
    const number = index + 1;
    const offsetBytes = first * sectorSize;
    const sizeBytes = (last - first + 1) * sectorSize;
    if (last < first || !Number.isSafeInteger(offsetBytes + sizeBytes)) {
      throw new GptError(`partition ${number} is from sector ${first} to ${last}`);
    }
    partitions.push({ number, typeGuid, guid: guidAt(entry, ENTRY.guid), name: nameOf(entry), offsetBytes, sizeBytes });
  }
  return partitions;
}

/** Decodes UTF-16 up to the first NUL. */
function nameOf(entry: Uint8Array): string {
  const text = new TextDecoder("utf-16le").decode(entry.subarray(ENTRY.name, ENTRY.name + ENTRY.NAME_SIZE));
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}

/** The first three fields of a GUID are little-endian numbers; the rest is stored in order. */
function guidAt(bytes: Uint8Array, at: number): string {
  const fields = [[at, at + 4], [at + 4, at + 6], [at + 6, at + 8]] as const;
  return fields.map(([from, to]) => toHex(bytes.slice(from, to).reverse())).join("") +
    toHex(bytes.subarray(at + 8, at + 16));
}

function u64(view: DataView, at: number): number {
  try {
    return readU64(view, at);
  } catch (error) {
    if (error instanceof RangeError) throw new GptError("a sector number is beyond every disk");
    throw error;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
