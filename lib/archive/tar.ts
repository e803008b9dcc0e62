/**
 * The tar format: contents of an entry, and layout of a 512-byte header.
 *
 * ```
 * [x header + records]  [header]  [data, padded to 512]   …   two zero blocks
 * ```
 *
 * Sources: POSIX.1-2024 `pax` (ustar and PAX), GNU tar 1.35 `src/tar.h` (long names, base-256 numbers, sparse), and the
 * behaviour of Go's archive/tar, which Docker uses. Names, link targets and values of extended attributes are bytes
 * throughout; keys are {@link ByteString}s.
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";
import { type ErrorCode, type ErrorDetails, NydusGdError } from "../base/errors.ts";
import type { Seconds } from "../base/seconds.ts";

/** Size of a header in bytes; data is padded to a multiple of it. */
export const BLOCK_SIZE = 512;

/** Maximum length of a name or link target: PATH_MAX of Linux without its NUL. */
export const MAX_NAME_BYTES = 4095;

/** Maximum size of an extended header (PAX records, GNU long name) or sparse map, as in Go's archive/tar. */
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
  gnuAtime: [345, 12],
  gnuCtime: [357, 12],
  gnuSparse: [386, 96],
  gnuIsExtended: [482, 1],
  gnuRealSize: [483, 12],
} as const;

/** "ustar", NUL, "00". */
export const MAGIC_USTAR = "ustar\x0000";
/** "ustar", two spaces, NUL. */
export const MAGIC_GNU = "ustar  \0";

/** Prefix of the PAX record of an extended attribute, followed by the attribute's name. */
export const PAX_XATTR = "SCHILY.xattr.";
/** libarchive's variant: name percent-encoded, value in base64. */
export const PAX_XATTR_LIBARCHIVE = "LIBARCHIVE.xattr.";

/** Type of an entry. "link" is a hard link, whose {@link TarEntry.linkName} is a name in the same archive. */
export type TarType = "file" | "link" | "symlink" | "char" | "block" | "directory" | "fifo";

/** One entry, with extended headers applied. */
export interface TarEntry {
  type: TarType;
  /** As in the archive: may be absolute, contain "..", end in "/", be empty. Never contains NUL. */
  name: Uint8Array;
  /** Target of a symlink or hard link, otherwise empty. */
  linkName: Uint8Array;
  /** Permission bits, 0 to 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Size of the logical file in bytes; 0 for all other types. */
  sizeBytes: number;
  /** Seconds since 1970, rounded down; negative before. */
  mtimeSec: Seconds;
  /** 0 to 999,999,999, added to {@link mtimeSec}. */
  mtimeNsec: number;
  /** Of devices, otherwise 0. */
  devMajor: number;
  devMinor: number;
  /** Extended attributes by full name ("user.x"). */
  xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** Creates an entry; defaults are those of an empty, root-owned file of 1970. */
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

/**
 * A damaged or unsupported archive. The message contains the byte offset: `Cannot read tar header at 1536: checksum is
 * …`.
 */
export class TarError extends NydusGdError {
  override readonly name = "TarError";
  /** @param code "invalid-image" for damage, "unsupported" for valid features that are refused */
  constructor(
    message: string,
    code: Extract<ErrorCode, "invalid-image" | "unsupported"> = "invalid-image",
    details?: ErrorDetails,
  ) {
    super(code, message, details);
  }
}

/** Padding after `sizeBytes` of data in bytes: 0 to 511. Exact up to 2^53-1. */
export function paddingOf(sizeBytes: number): number {
  return (BLOCK_SIZE - sizeBytes % BLOCK_SIZE) % BLOCK_SIZE;
}
