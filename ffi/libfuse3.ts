/**
 * libfuse3: loading the library, replies and notices. Sessions, which receive requests, are in libfuse3_session.ts.
 *
 * ```
 *  /dev/fuse ──receive()──► request buffer ──process()──► FuseOperations ──reply…()──► /dev/fuse
 * ```
 * Replies may be sent from any thread of the process: a {@link FuseRequest} can be posted to another thread and
 * answered there, once.
 *
 * Prefers libfuse3.so.4 (Debian 13) and falls back to libfuse3.so.3 (Debian 12). Versions whose struct layouts are
 * unknown are refused by name, see libfuse3_layout.ts.
 *
 * Source: fuse_lowlevel.h of libfuse 3.14.0 and 3.17.2.
 *
 * @module
 */
import type { FileAttributes } from "./fuse_kernel.ts";
import { cstring, load, MissingLibraryError } from "./libc.ts";
import {
  entryParamLayout,
  FILE_INFO,
  type FuseLayout,
  layoutOf,
  STAT_LAYOUTS,
  STATVFS,
  writeStat,
} from "./libfuse3_layout.ts";
import { MACHINE } from "./machine.ts";

/** Symbols that identify the library. Loading only these saves some 20 ms in threads that only check the version. */
const VERSION_SYMBOLS = {
  fuse_version: { parameters: [], result: "i32" }, // int fuse_version(void)
  fuse_pkgversion: { parameters: [], result: "pointer" }, // const char *fuse_pkgversion(void)
} as const satisfies Deno.ForeignLibraryInterface;

const SYMBOLS = {
  fuse_opt_free_args: { parameters: ["buffer"], result: "void" }, // void fuse_opt_free_args(struct fuse_args *)
  fuse_session_mount: { parameters: ["u64", "buffer"], result: "i32" }, // int (struct fuse_session *, const char *mountpoint)
  fuse_session_destroy: { parameters: ["u64"], result: "void" }, // void (struct fuse_session *)
  fuse_session_receive_buf: { parameters: ["u64", "buffer"], result: "i32" }, // int (struct fuse_session *, struct fuse_buf *)
  fuse_session_process_buf: { parameters: ["u64", "buffer"], result: "void" }, // void (struct fuse_session *, const struct fuse_buf *)
  fuse_reply_err: { parameters: ["u64", "i32"], result: "i32" }, // int fuse_reply_err(fuse_req_t, int err)
  fuse_reply_none: { parameters: ["u64"], result: "void" }, // void fuse_reply_none(fuse_req_t)
  fuse_reply_entry: { parameters: ["u64", "buffer"], result: "i32" }, // int (fuse_req_t, const struct fuse_entry_param *)
  fuse_reply_attr: { parameters: ["u64", "buffer", "f64"], result: "i32" }, // int (fuse_req_t, const struct stat *, double)
  fuse_reply_readlink: { parameters: ["u64", "buffer"], result: "i32" }, // int (fuse_req_t, const char *)
  fuse_reply_open: { parameters: ["u64", "buffer"], result: "i32" }, // int (fuse_req_t, const struct fuse_file_info *)
  fuse_reply_buf: { parameters: ["u64", "buffer", "usize"], result: "i32" }, // int (fuse_req_t, const char *, size_t)
  fuse_reply_statfs: { parameters: ["u64", "buffer"], result: "i32" }, // int (fuse_req_t, const struct statvfs *)
  fuse_reply_xattr: { parameters: ["u64", "usize"], result: "i32" }, // int (fuse_req_t, size_t count)
  // int fuse_lowlevel_notify_inval_inode(struct fuse_session *, fuse_ino_t, off_t off, off_t len)
  fuse_lowlevel_notify_inval_inode: { parameters: ["u64", "u64", "i64", "i64"], result: "i32", nonblocking: true },
  // int fuse_lowlevel_notify_inval_entry(struct fuse_session *, fuse_ino_t parent, const char *name, size_t namelen)
  fuse_lowlevel_notify_inval_entry: { parameters: ["u64", "u64", "buffer", "usize"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** Depends on whichever of libfuse3-3 and libfuse3-4 the Debian release has. */
const PACKAGE = "fuse3";
const SO3 = ["libfuse3.so.3", PACKAGE] as const;
const SO4 = ["libfuse3.so.4", PACKAGE] as const;
const so3 = { version: load(...SO3, VERSION_SYMBOLS), all: load(...SO3, SYMBOLS) };
const so4 = { version: load(...SO4, VERSION_SYMBOLS), all: load(...SO4, SYMBOLS) };
/** fuse_session_new() of libfuse3.so.3. */
export const so3New = load(...SO3, {
  // struct fuse_session *(struct fuse_args *, const struct fuse_lowlevel_ops *, size_t op_size, void *userdata)
  fuse_session_new: { parameters: ["buffer", "buffer", "usize", "pointer"], result: "u64" },
});
/** fuse_session_new() of libfuse3.so.4, which is a macro there. */
export const so4New = load(...SO4, {
  // as above with struct libfuse_version * before userdata
  fuse_session_new_versioned: { parameters: ["buffer", "buffer", "usize", "buffer", "pointer"], result: "u64" },
});

/** A libfuse3 with unknown struct layouts, whose use would corrupt memory. */
export class UnknownLibfuseError extends Error {
  override readonly name = "UnknownLibfuseError";
  readonly hint = "install libfuse3-3 of version 3.10 to 3.16, or libfuse3-4 of version 3.17 or 3.18";
  constructor(soname: string, version: string) {
    super(`Cannot use ${soname}: version ${version} is not known`);
  }
}

/** The loaded library. */
export interface Library {
  /** Loaded on first access. */
  readonly symbols: ReturnType<typeof so3.all>;
  readonly layout: FuseLayout;
  /** "3.17.2". */
  readonly version: string;
}

let loaded: Library | undefined;

/** Returns the library, loading it on the first call. For the session only, not for other layers. */
export function libfuse(): Library {
  return loaded ??= loadEither();
}

function loadEither(): Library {
  let symbols: ReturnType<typeof so3.version>;
  let soname = SO4[0] as string;
  let { all } = so4;
  try {
    symbols = so4.version();
  } catch (error) {
    if (!(error instanceof MissingLibraryError)) throw error;
    symbols = so3InPlaceOf(error);
    soname = SO3[0];
    all = so3.all;
  }
  const text = symbols.fuse_pkgversion();
  const version = text === null ? String(symbols.fuse_version()) : Deno.UnsafePointerView.getCString(text);
  const layout = layoutOf(soname, symbols.fuse_version());
  if (layout === undefined) throw new UnknownLibfuseError(soname, version);
  return {
    get symbols() {
      return all();
    },
    layout,
    version,
  };
}

function so3InPlaceOf(newer: MissingLibraryError): ReturnType<typeof so3.version> {
  try {
    return so3.version();
  } catch (error) {
    if (!(error instanceof MissingLibraryError)) throw error;
    throw new MissingLibraryError(`${newer.soname} or ${error.soname}`, PACKAGE, error.cause);
  }
}

/**
 * Loads the library and returns its name and version: "libfuse3.so.3 3.14.0".
 *
 * @throws {MissingLibraryError} when neither soname can be loaded
 * @throws {UnknownLibfuseError} when the version is not supported
 */
export function libfuseVersion(): string {
  return `${libfuse().layout.soname} ${libfuse().version}`;
}

/** `fuse_req_t`: a request that awaits its single reply. Valid until then, on every thread of the process. */
export type FuseRequest = bigint;

const STAT = STAT_LAYOUTS[MACHINE];
const ENTRY = entryParamLayout(STAT);

/** Reply structs, one per thread: libfuse reads them before the reply function returns. */
const entryView = new DataView(new ArrayBuffer(ENTRY.SIZE));
const entryBytes = new Uint8Array(entryView.buffer);
const statView = new DataView(new ArrayBuffer(STAT.SIZE));
const statBytes = new Uint8Array(statView.buffer);

/** Result of fuse_reply_*: 0, or a negative errno of write(2). -ENOENT: the kernel no longer waits for the reply. */
export type ReplyResult = number;

/** Ends the request with an errno, or 0 for success without data. */
export function replyError(request: FuseRequest, errno: number): ReplyResult {
  return libfuse().symbols.fuse_reply_err(request, errno);
}

/**
 * Answers LOOKUP. If the result is 0, the kernel holds a reference to `node` and caches name and attributes for
 * `validSec`.
 */
export function replyEntry(request: FuseRequest, node: bigint, attr: FileAttributes, validSec: number): ReplyResult {
  entryView.setBigUint64(ENTRY.ino, node, true);
  writeStat(entryView, ENTRY.attr, STAT, attr);
  entryView.setFloat64(ENTRY.attrTimeout, validSec, true);
  entryView.setFloat64(ENTRY.entryTimeout, validSec, true);
  return libfuse().symbols.fuse_reply_entry(request, entryBytes);
}

/** Answers LOOKUP for a name that does not exist. The kernel may cache that for `validSec`. */
export function replyNegativeEntry(request: FuseRequest, validSec: number): ReplyResult {
  entryView.setBigUint64(ENTRY.ino, 0n, true);
  entryView.setFloat64(ENTRY.entryTimeout, validSec, true);
  return libfuse().symbols.fuse_reply_entry(request, entryBytes);
}

export function replyAttributes(request: FuseRequest, attr: FileAttributes, validSec: number): ReplyResult {
  writeStat(statView, 0, STAT, attr);
  return libfuse().symbols.fuse_reply_attr(request, statBytes, validSec);
}

/** Replies with the first `length` of `bytes`: file data, a directory listing or an attribute value. */
export function replyBytes(request: FuseRequest, bytes: Uint8Array, length: number): ReplyResult {
  return libfuse().symbols.fuse_reply_buf(request, bytes as Uint8Array<ArrayBuffer>, BigInt(length));
}

export function replyLink(request: FuseRequest, target: Uint8Array): ReplyResult {
  return libfuse().symbols.fuse_reply_readlink(request, cstring(target, "readlink"));
}

/** Replies with the length requested by GETXATTR or LISTXATTR with size 0. */
export function replyXattrSize(request: FuseRequest, size: number): ReplyResult {
  return libfuse().symbols.fuse_reply_xattr(request, BigInt(size));
}

/** Caching of an opened file or directory. */
export interface OpenFlags {
  /** Keeps the page cache, because the content never changes. */
  readonly keepCache?: boolean;
  /** Lets the kernel cache the listing of a directory. */
  readonly cacheReaddir?: boolean;
  /** Reads bypass the page cache. */
  readonly directIo?: boolean;
}

export function replyOpen(request: FuseRequest, flags: OpenFlags): ReplyResult {
  const { layout } = libfuse();
  const info = new DataView(new ArrayBuffer(layout.fileInfo));
  const bits = (flags.keepCache ? layout.keepCache : 0) | (flags.cacheReaddir ? layout.cacheReaddir : 0) |
    (flags.directIo ? layout.directIo : 0);
  info.setUint32(FILE_INFO.bits, bits, true);
  return libfuse().symbols.fuse_reply_open(request, new Uint8Array(info.buffer));
}

/** Values for statvfs(3). No space is ever free. */
export interface FileSystemSize {
  readonly blockSize: number;
  readonly blocks: number;
  readonly files: number;
  readonly nameMax: number;
}

export function replyStatfs(request: FuseRequest, size: FileSystemSize): ReplyResult {
  const view = new DataView(new ArrayBuffer(STATVFS.SIZE));
  view.setBigUint64(STATVFS.bsize, BigInt(size.blockSize), true);
  view.setBigUint64(STATVFS.frsize, BigInt(size.blockSize), true);
  view.setBigUint64(STATVFS.blocks, BigInt(size.blocks), true);
  view.setBigUint64(STATVFS.files, BigInt(size.files), true);
  view.setBigUint64(STATVFS.namemax, BigInt(size.nameMax), true);
  return libfuse().symbols.fuse_reply_statfs(request, new Uint8Array(view.buffer));
}

/**
 * Makes the kernel drop `name` in directory `parent` and everything below it. Runs on another thread, because the
 * kernel waits for lookups in progress in `parent`.
 *
 * @param session address of an open session, {@link FuseSessionHandle.address}
 * @returns 0 or a negative errno: -ENOENT when the kernel does not know the name
 */
export async function notifyInvalEntry(session: bigint, parent: bigint, name: Uint8Array): Promise<number> {
  const bytes = cstring(name);
  const result = await libfuse().symbols.fuse_lowlevel_notify_inval_entry(session, parent, bytes, BigInt(name.length));
  bytes.fill(0); // used after the call so that the memory is not collected during it
  return result;
}

/**
 * Makes the kernel drop attributes and cached pages (or the cached listing) of `node`. Like {@link notifyInvalEntry}.
 */
export function notifyInvalInode(session: bigint, node: bigint): Promise<number> {
  return libfuse().symbols.fuse_lowlevel_notify_inval_inode(session, node, 0n, 0n);
}
