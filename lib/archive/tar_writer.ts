/**
 * Writes tar headers: ustar where an entry fits, preceded by PAX records for the rest.
 *
 * Deterministic: the same entry gives the same bytes. PAX is used for names that are long or not ASCII (as raw bytes,
 * with `hdrcharset=BINARY` if they are not UTF-8), times with a fraction or before 1970, ids and sizes beyond octal,
 * and extended attributes. Go's archive/tar, GNU tar and libarchive read the result.
 *
 * An archive consists of {@link encodeTarHeader}, the data and {@link tarPadding} for each entry, then {@link TAR_END}.
 *
 * @module
 */
import { type ByteString, concatenate, fromByteString } from "../base/bytes.ts";
import { SLASH } from "../base/path_bytes.ts";
import { isSeconds } from "../base/seconds.ts";
import {
  BLOCK_SIZE,
  HEADER,
  MAGIC_USTAR,
  paddingOf,
  PAX_XATTR,
  PAX_XATTR_LIBARCHIVE,
  type TarEntry,
  type TarType,
} from "./tar.ts";
import { checksums } from "./tar_header.ts";
import { fitsOctal, writeOctal } from "./tar_numbers.ts";
import { formatPaxRecord, formatPaxTime } from "./tar_pax.ts";

/** End-of-archive marker. Must not be modified. */
export const TAR_END: Uint8Array<ArrayBuffer> = new Uint8Array(2 * BLOCK_SIZE);

const ZEROS = new Uint8Array(BLOCK_SIZE);
const EMPTY = new Uint8Array(0);

const TYPE_FLAGS: Readonly<Record<TarType, string>> = {
  file: "0",
  link: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** The zeros after `sizeBytes` of data: 0 to 511 bytes, a view that must not be modified. */
export function tarPadding(sizeBytes: number): Uint8Array {
  return ZEROS.subarray(0, paddingOf(sizeBytes));
}

/**
 * Encodes everything before the data of an entry, in whole blocks. A trailing slash is added to directory names.
 *
 * @throws {RangeError} for a name or link target that is empty where it must not be or contains a NUL, for a number
 * that is not a safe integer or is negative (except times), for a size on anything but a file
 */
export function encodeTarHeader(entry: TarEntry): Uint8Array<ArrayBuffer> {
  checkEntry(entry);
  const name = entry.type === "directory" ? withSlash(entry.name) : entry.name;
  const records = new Map<ByteString, Uint8Array>();
  const block = new Uint8Array(BLOCK_SIZE);

  const split = splitName(name);
  if (split === undefined) records.set("path", name);
  put(block, HEADER.name, split?.name ?? asciiOf(name));
  put(block, HEADER.prefix, split?.prefix ?? EMPTY);
  const linkFits = entry.linkName.length <= HEADER.linkName[1] && isAscii(entry.linkName);
  if (!linkFits) records.set("linkpath", entry.linkName);
  put(block, HEADER.linkName, linkFits ? entry.linkName : asciiOf(entry.linkName));

  putNumber(block, HEADER.mode, entry.mode & 0o7777);
  putOrRecord(block, HEADER.uid, entry.uid, "uid", records);
  putOrRecord(block, HEADER.gid, entry.gid, "gid", records);
  putOrRecord(block, HEADER.size, entry.sizeBytes, "size", records);
  const { mtimeSec, mtimeNsec } = entry;
  const fitting = typeof mtimeSec === "number" && fitsOctal(mtimeSec, HEADER.mtime[1]) ? mtimeSec : undefined;
  putNumber(block, HEADER.mtime, fitting ?? 0);
  if (fitting === undefined || mtimeNsec !== 0) {
    records.set("mtime", fromByteString(formatPaxTime(mtimeSec, mtimeNsec)));
  }
  putNumber(block, HEADER.devMajor, entry.devMajor);
  putNumber(block, HEADER.devMinor, entry.devMinor);
  for (const [key, value] of entry.xattrs) {
    if (key.includes("=")) records.set(PAX_XATTR_LIBARCHIVE + percentEncode(key), fromByteString(value.toBase64()));
    else records.set(PAX_XATTR + key, value);
  }

  seal(block, TYPE_FLAGS[entry.type]);
  if (records.size === 0) return block;
  return concatenate([...encodePax(records, name), block]);
}

function encodePax(records: Map<ByteString, Uint8Array>, name: Uint8Array): Uint8Array[] {
  if ([records.get("path"), records.get("linkpath")].some((text) => text !== undefined && !isUtf8(text))) {
    records.set("hdrcharset", fromByteString("BINARY"));
  }
  const body = concatenate(
    [...records].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1)).map((record) => formatPaxRecord(...record)),
  );
  const block = new Uint8Array(BLOCK_SIZE);
  const base = asciiOf(name.subarray(name.lastIndexOf(SLASH, -2) + 1));
  put(block, HEADER.name, concatenate([fromByteString("PaxHeaders/"), base]).subarray(0, HEADER.name[1]));
  putNumber(block, HEADER.mode, 0o644);
  putNumber(block, HEADER.uid, 0);
  putNumber(block, HEADER.gid, 0);
  putNumber(block, HEADER.size, body.length);
  putNumber(block, HEADER.mtime, 0);
  putNumber(block, HEADER.devMajor, 0);
  putNumber(block, HEADER.devMinor, 0);
  seal(block, "x");
  return [block, body, tarPadding(body.length)];
}

/** hdrcharset comes first: it applies to the records after it. */
function rank(key: ByteString): number {
  return key === "hdrcharset" ? 0 : 1;
}

/** Writes the last fields: type, magic and checksum. */
function seal(block: Uint8Array, typeFlag: string): void {
  put(block, HEADER.typeFlag, fromByteString(typeFlag));
  put(block, HEADER.magic, fromByteString(MAGIC_USTAR));
  const [start, length] = HEADER.checksum;
  const { unsigned } = checksums(block);
  writeOctal(block.subarray(start, start + length - 1), unsigned);
  block[start + length - 1] = 0x20;
}

function put(block: Uint8Array, [offset, length]: readonly [number, number], bytes: Uint8Array): void {
  block.set(bytes.subarray(0, length), offset);
}

function putNumber(block: Uint8Array, [offset, length]: readonly [number, number], value: number): void {
  writeOctal(block.subarray(offset, offset + length), value);
}

/** Writes the number to the field; if it does not fit, writes 0 and adds a record. */
function putOrRecord(
  block: Uint8Array,
  field: readonly [number, number],
  value: number,
  key: string,
  records: Map<ByteString, Uint8Array>,
): void {
  const fits = fitsOctal(value, field[1]);
  putNumber(block, field, fits ? value : 0);
  if (!fits) records.set(key, fromByteString(String(value)));
}

/** Name and prefix of a ustar header; undefined if the name needs PAX. */
function splitName(name: Uint8Array): { name: Uint8Array; prefix: Uint8Array } | undefined {
  if (!isAscii(name)) return undefined;
  const [, nameBytes] = HEADER.name;
  const [, prefixBytes] = HEADER.prefix;
  if (name.length <= nameBytes) return { name, prefix: EMPTY };
  if (name.length > nameBytes + prefixBytes + 1) return undefined;
  // The slash between the two belongs to neither, and cannot be the last one of a directory.
  const slash = name.subarray(0, Math.min(prefixBytes + 1, name.length - 1)).lastIndexOf(SLASH);
  if (slash <= 0 || name.length - slash - 1 > nameBytes) return undefined;
  return { name: name.subarray(slash + 1), prefix: name.subarray(0, slash) };
}

function withSlash(name: Uint8Array): Uint8Array {
  if (name.at(-1) === SLASH) return name;
  const out = new Uint8Array(name.length + 1);
  out.set(name);
  out[name.length] = SLASH;
  return out;
}

function isAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte < 0x80);
}

/** Escapes names for use in a record's key. */
function percentEncode(key: ByteString): ByteString {
  return key.replace(/[%=]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Substitute shown to old readers for a name that is in a record. */
function asciiOf(name: Uint8Array): Uint8Array {
  return name.map((byte) => byte < 0x80 ? byte : 0x5f);
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function checkEntry(entry: TarEntry): void {
  const refuse = (state: string): never => {
    throw new RangeError(`Cannot write tar header: ${state}`);
  };
  if (entry.name.length === 0) refuse("name is empty");
  if (entry.name.includes(0) || entry.linkName.includes(0)) refuse("a name contains NUL");
  const isLink = entry.type === "link" || entry.type === "symlink";
  if (isLink === (entry.linkName.length === 0)) {
    refuse(`link target of a ${entry.type} is ${isLink ? "" : "not "}empty`);
  }
  for (const key of ["uid", "gid", "sizeBytes", "devMajor", "devMinor"] as const) {
    if (!Number.isSafeInteger(entry[key]) || entry[key] < 0) refuse(`${key} is ${entry[key]}`);
  }
  if (Math.max(entry.devMajor, entry.devMinor) >= 8 ** 7) refuse(`device is ${entry.devMajor}:${entry.devMinor}`);
  if (entry.sizeBytes > 0 && entry.type !== "file") refuse(`a ${entry.type} has ${entry.sizeBytes} bytes`);
  if (!isSeconds(entry.mtimeSec) || !(entry.mtimeNsec >= 0 && entry.mtimeNsec < 1e9)) {
    refuse(`mtime is ${entry.mtimeSec} s and ${entry.mtimeNsec} ns`);
  }
  for (const key of entry.xattrs.keys()) {
    if (key === "" || key.includes("\0")) refuse(`extended attribute has the name ${JSON.stringify(key)}`);
  }
}
