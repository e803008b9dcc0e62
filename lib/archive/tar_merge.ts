/**
 * Combines a header with the extended headers before it.
 *
 * A GNU long name takes precedence over a PAX path, and both over the header. An entry's own PAX records take
 * precedence over global ones. An empty value removes a record (but extended attributes may be empty). As in Go's
 * archive/tar and POSIX.
 *
 * @module
 */
import { type ByteString, toByteString } from "../base/bytes.ts";
import { SLASH } from "../base/path_bytes.ts";
import { MAX_NAME_BYTES, type TarEntry, TarError, type TarType } from "./tar.ts";
import type { RawHeader } from "./tar_header.ts";
import { parsePaxNumber, parsePaxTime, type PaxRecord, xattrsOf } from "./tar_pax.ts";
import { paxSparse, type SparseSegment } from "./tar_sparse.ts";

/** Everything that precedes the data of an entry. */
export interface HeaderGroup {
  readonly header: RawHeader;
  readonly global: ReadonlyMap<ByteString, Uint8Array>;
  /** The entry's own PAX records, in order; empty if none. */
  readonly local: readonly PaxRecord[];
  readonly longName: Uint8Array | undefined;
  readonly longLink: Uint8Array | undefined;
  /** Size and segments of a GNU sparse file. */
  readonly gnuSparse: { readonly sizeBytes: number; readonly segments: SparseSegment[] } | undefined;
  /** See TarReaderOptions. */
  readonly isLayer: boolean;
  /** Offset of the header in the archive, for messages. */
  readonly at: number;
}

/** An entry, and how its data is stored. */
export interface MergedEntry {
  readonly entry: TarEntry;
  /** Bytes in the archive without padding. */
  readonly storedBytes: number;
  /** Stored segments of the logical file; undefined if all of it is stored; "follow": a map precedes the data. */
  readonly segments: SparseSegment[] | undefined | "follow";
}

const TYPES: ReadonlyMap<string, TarType> = new Map([
  ["0", "file"],
  ["7", "file"], // contiguous
  ["S", "file"], // GNU sparse
  ["1", "link"],
  ["2", "symlink"],
  ["3", "char"],
  ["4", "block"],
  ["5", "directory"],
  ["6", "fifo"],
]);

const EMPTY = new Uint8Array(0);
const NO_XATTRS: ReadonlyMap<ByteString, Uint8Array> = new Map();
const NO_RECORDS: ReadonlyMap<ByteString, Uint8Array> = new Map();

/** @throws {TarError} */
export function mergeHeaders(group: HeaderGroup): MergedEntry {
  const { header, at } = group;
  const records = effectiveRecords(group);
  const type = typeOf(group, records);
  const isLink = type === "link" || type === "symlink";
  const mtime = records.get("mtime");
  const time = mtime === undefined ? { sec: header.mtime, nsec: 0 } : parsePaxTime(mtime, "mtime", at);
  const number = (key: string, otherwise: number): number => {
    const value = records.get(key);
    return value === undefined ? otherwise : parsePaxNumber(value, key, at);
  };
  // Entries without data may still specify a size. Go ignores it, so an equivalent reader must, too.
  const storedBytes = type === "file" ? nonNegative(number("size", header.size), "size", at) : 0;
  const entry: TarEntry = {
    type,
    name: checkName(nameOf(group, records), at),
    linkName: isLink ? checkName(group.longLink ?? records.get("linkpath") ?? header.linkName, at) : EMPTY,
    mode: header.mode & 0o7777,
    uid: number("uid", header.uid),
    gid: number("gid", header.gid),
    sizeBytes: storedBytes,
    mtimeSec: time.sec,
    mtimeNsec: time.nsec,
    devMajor: header.devMajor,
    devMinor: header.devMinor,
    xattrs: records === NO_RECORDS ? NO_XATTRS : xattrsOf(records, at, !group.isLayer),
  };
  if (group.gnuSparse !== undefined) {
    entry.sizeBytes = nonNegative(group.gnuSparse.sizeBytes, "real size", at);
    return { entry, storedBytes, segments: group.gnuSparse.segments };
  }
  const sparse = type === "file" && records !== NO_RECORDS ? paxSparse(records, group.local, at) : undefined;
  if (sparse === undefined) return { entry, storedBytes, segments: undefined };
  entry.sizeBytes = nonNegative(sparse.sizeBytes, "GNU.sparse size", at);
  if (sparse.name !== undefined) entry.name = checkName(sparse.name, at);
  return { entry, storedBytes, segments: sparse.segments ?? "follow" };
}

function effectiveRecords({ global, local }: HeaderGroup): ReadonlyMap<ByteString, Uint8Array> {
  if (global.size === 0 && local.length === 0) return NO_RECORDS;
  const records = new Map(global);
  for (const [key, value] of local) records.set(key, value);
  for (const [key, value] of records) {
    if (value.length === 0 && !key.startsWith("GNU.sparse.") && !key.includes(".xattr.")) records.delete(key);
  }
  return records;
}

function nameOf(group: HeaderGroup, records: ReadonlyMap<ByteString, Uint8Array>): Uint8Array {
  return group.longName ?? records.get("path") ?? group.header.name;
}

function typeOf(group: HeaderGroup, records: ReadonlyMap<ByteString, Uint8Array>): TarType {
  const { header, at } = group;
  if (header.oldStyle && nameOf(group, records).at(-1) === SLASH) return "directory";
  const type = TYPES.get(header.typeFlag);
  if (type !== undefined) return type;
  throw new TarError(
    `Cannot read tar header at ${at}: entry type ${JSON.stringify(header.typeFlag)} is not supported`,
    "unsupported",
  );
}

function checkName(name: Uint8Array, at: number): Uint8Array {
  if (name.length <= MAX_NAME_BYTES) return name;
  const start = JSON.stringify(toByteString(name.subarray(0, 40)));
  throw new TarError(
    `Cannot read tar header at ${at}: name ${start}… has ${name.length} bytes, ${MAX_NAME_BYTES} at most`,
  );
}

function nonNegative(value: number, what: string, at: number): number {
  if (value < 0) throw new TarError(`Cannot read tar header at ${at}: ${what} is ${value}`);
  return value;
}
