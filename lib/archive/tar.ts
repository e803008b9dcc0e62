/**
 * The tar format: what one entry says, and where it stands in a 512-byte header.
 *
 * ```
 * [x header + records]  [header]  [data, padded to 512]   …   two zero blocks
 * ```
 *
 * Sources: POSIX.1-2024 `pax` (ustar and PAX), GNU tar 1.35 `src/tar.h` (long names, base-256 numbers, sparse), and
 * what Go's archive/tar accepts, because Docker reads with it. Names, link targets and values of extended attributes
 * are bytes throughout; keys are {@link ByteString}s.
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";
import { type ErrorCode, type ErrorDetails, NydusGdError } from "../base/errors.ts";

/** Bytes of a header, and what data is padded to. */
export const BLOCK_SIZE = 512;

/** Longest name or link target: PATH_MAX of Linux without its NUL. */
export const MAX_NAME_BYTES = 4095;

/** Largest extended header (PAX records, GNU long name) and largest sparse map, as in Go's archive/tar. */
export const MAX_SPECIAL_BYTES = 1 << 20;

/** POSIX header block, offset and length of each field; `gnu` and `star` replace `prefix` in those dialects. */
export const HEADER = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeFlag: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  devMajor: [329, 8],
  devMinor: [337, 8],
  prefix: [345, 155],
  starPrefix: [345, 131],
  starTrailer: [508, 4],
  gnuSparse: [386, 96],
  gnuIsExtended: [482, 1],
  gnuRealSize: [483, 12],
} as const;

/** "ustar", NUL, "00". */
export const MAGIC_USTAR = "ustar\x0000";
/** "ustar", two spaces, NUL. */
export const MAGIC_GNU = "ustar  \0";

/** The record that stands for one extended attribute: this prefix and its name. */
export const PAX_XATTR = "SCHILY.xattr.";
/** libarchive's form of it: name percent-encoded, value in base64. */
export const PAX_XATTR_LIBARCHIVE = "LIBARCHIVE.xattr.";

/** What an entry is. "link" is a hard link, whose {@link TarEntry.linkName} is a name in the same archive. */
export type TarType = "file" | "link" | "symlink" | "char" | "block" | "directory" | "fifo";

/** One entry, extended headers already applied. */
export interface TarEntry {
  type: TarType;
  /** As it stands in the archive: may be absolute, hold "..", end in "/", be empty. Never holds NUL. */
  name: Uint8Array;
  /** Target of a symlink or hard link, else empty. */
  linkName: Uint8Array;
  /** Permission bits, 0 to 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the logical file; 0 for everything but files. */
  sizeBytes: number;
  /** Seconds since 1970, rounded down; negative before. */
  mtimeSec: number;
  /** 0 to 999,999,999, forward from {@link mtimeSec}. */
  mtimeNsec: number;
  /** Of devices, else 0. */
  devMajor: number;
  devMinor: number;
  /** Extended attributes by full name ("user.x"). */
  xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** Builds an entry from what differs from an empty, root-owned file of 1970. */
export function tarEntry(fields: Partial<TarEntry> & Pick<TarEntry, "type" | "name">): TarEntry {
  return {
    linkName: new Uint8Array(0),
    mode: fields.type === "directory" ? 0o755 : fields.type === "symlink" ? 0o777 : 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    devMajor: 0,
    devMinor: 0,
    xattrs: new Map(),
    ...fields,
  };
}

/** Damaged or refused archive; the message says at which byte: `Cannot read tar header at 1536: checksum is …`. */
export class TarError extends NydusGdError {
  override readonly name = "TarError";
  /** @param code "invalid-image" for damage, "unsupported" for what is understood and refused by name */
  constructor(
    message: string,
    code: Extract<ErrorCode, "invalid-image" | "unsupported"> = "invalid-image",
    details?: ErrorDetails,
  ) {
    super(code, message, details);
  }
}

/** Bytes that pad `sizeBytes` of data to a whole block: 0 to 511. Exact up to 2^53-1. */
export function paddingOf(sizeBytes: number): number {
  return (BLOCK_SIZE - sizeBytes % BLOCK_SIZE) % BLOCK_SIZE;
}
