/**
 * Writes files on disk as a tar, in pieces of equal size.
 *
 * Each method is a generator that yields a piece whenever one is full; {@link DiffOutput.end} yields the rest. Data is
 * read directly into the piece, so memory is bounded by one piece, whatever the size of a file. Each piece has memory
 * of its own.
 *
 * Extended attributes are kept, except overlayfs's own and the host's security labels (`security.*` other than
 * `security.capability`, whose user namespace is omitted, as in Docker). Further names of an inode become hard links
 * with the same attributes, because Docker sets them again. Sockets are skipped: tar has no type for them.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, openat } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { fstat, major, minor, S, type Stat } from "../../../ffi/sys_stat.ts";
import { lgetxattr, llistxattr } from "../../../ffi/sys_xattr.ts";
import { pread, readlinkat } from "../../../ffi/unistd.ts";
import { NODE_TYPES } from "../../archive/node_type.ts";
import { type TarEntry, tarEntry } from "../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import { OVERLAY_XATTR_PREFIX } from "../../archive/whiteout.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { pathBelow, printable } from "../apply/apply_tree.ts";
import { type IdMaps, toContainer } from "../userns/id_maps.ts";

/** Size of a piece in bytes. */
const PIECE_BYTES = 256 * 1024;

/** Overlay attributes that redirect a file to another folder's content or another file's data. */
const REFUSED_XATTRS = ["trusted.overlay.redirect", "trusted.overlay.metacopy"];

const CAPABILITY = "security.capability";
/** `struct vfs_cap_data` of linux/capability.h: byte offset of the version, and the size of version 2. */
const CAP_DATA = { version: 3, V2_SIZE: 20 } as const;

/** Pieces of the archive. */
export type Pieces = Generator<Uint8Array<ArrayBuffer>, void>;

/** Tar writer for files of one tree. */
export class DiffOutput {
  #piece = new Uint8Array(PIECE_BYTES);
  #used = 0;
  /** First name of each inode with several names. */
  readonly #names = new Map<string, ByteString>();
  readonly #idMaps: IdMaps;

  /** @param idMaps of the containers that the archive is for */
  constructor(idMaps: IdMaps) {
    this.#idMaps = idMaps;
  }

  /** Writes `name` of `folder` under the name `path`. */
  *node(folder: Fd, name: Uint8Array, path: ByteString, stat: Stat): Pieces {
    const type = NODE_TYPES[stat.mode & S.IFMT];
    if (type === undefined) return;
    const owner = toContainer(this.#idMaps, stat);
    if (owner === undefined) throw outside(path, stat);
    const entry = tarEntry({
      type,
      name: fromByteString(path),
      mode: stat.mode & 0o7777,
      uid: owner.uid,
      gid: owner.gid,
      mtimeSec: stat.mtimeSec,
      mtimeNsec: stat.mtimeNsec,
      xattrs: readXattrs(folder, name, path),
    });
    const first = type === "directory" || stat.nlink === 1 ? undefined : this.#firstName(stat, path);
    if (first !== undefined) {
      yield* this.#put(encodeTarHeader({ ...entry, type: "link", linkName: fromByteString(first) }));
    } else if (type === "file") {
      yield* this.#file(folder, name, entry, stat);
    } else {
      if (type === "symlink") entry.linkName = readlinkat(folder, name);
      if (type === "char" || type === "block") {
        entry.devMajor = major(stat.rdev);
        entry.devMinor = minor(stat.rdev);
      }
      yield* this.#put(encodeTarHeader(entry));
    }
  }

  /** Writes an empty file: a whiteout or an opaque marker. */
  *marker(path: ByteString): Pieces {
    yield* this.#put(encodeTarHeader(tarEntry({ type: "file", name: fromByteString(path), mode: 0o600 })));
  }

  /** Writes the end of the archive and flushes the last piece. */
  *end(): Pieces {
    yield* this.#put(TAR_END);
    if (this.#used > 0) yield this.#piece.slice(0, this.#used);
  }

  #firstName(stat: Stat, path: ByteString): ByteString | undefined {
    const inode = `${stat.dev}:${stat.ino}`;
    const first = this.#names.get(inode);
    if (first === undefined) this.#names.set(inode, path);
    return first;
  }

  *#file(folder: Fd, name: Uint8Array, entry: TarEntry, stat: Stat): Pieces {
    using file = openat(folder, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    const opened = fstat(file);
    if ((opened.mode & S.IFMT) !== S.IFREG || opened.ino !== stat.ino) throw changed(entry, "it was replaced");
    const sizeBytes = opened.size;
    yield* this.#put(encodeTarHeader({ ...entry, sizeBytes }));
    for (let at = 0; at < sizeBytes;) {
      const room = Math.min(PIECE_BYTES - this.#used, sizeBytes - at);
      const count = pread(file, this.#piece.subarray(this.#used, this.#used + room), at);
      if (count === 0) throw changed(entry, `it ended at ${at} of ${sizeBytes} bytes`);
      at += count;
      this.#used += count;
      if (this.#used === PIECE_BYTES) yield this.#take();
    }
    yield* this.#put(tarPadding(sizeBytes));
  }

  *#put(bytes: Uint8Array): Pieces {
    for (let at = 0; at < bytes.length;) {
      const count = Math.min(PIECE_BYTES - this.#used, bytes.length - at);
      this.#piece.set(bytes.subarray(at, at + count), this.#used);
      this.#used += count;
      at += count;
      if (this.#used === PIECE_BYTES) yield this.#take();
    }
  }

  #take(): Uint8Array<ArrayBuffer> {
    const full = this.#piece;
    this.#piece = new Uint8Array(PIECE_BYTES);
    this.#used = 0;
    return full;
  }
}

function changed(entry: TarEntry, state: string): NydusGdError {
  return new NydusGdError("io", `Cannot read "${printable(toByteString(entry.name))}": ${state} while it was read`);
}

function outside(path: ByteString, { uid, gid }: Stat): NydusGdError {
  const state = `its owner ${uid}:${gid} is outside the user namespace`;
  return new NydusGdError("io", `Cannot read "${printable(path)}": ${state}`);
}

function readXattrs(folder: Fd, name: Uint8Array, path: ByteString): Map<ByteString, Uint8Array> {
  const xattrs = new Map<ByteString, Uint8Array>();
  const file = pathBelow(folder, name);
  for (const raw of listXattrs(file)) {
    const key = toByteString(raw);
    if (REFUSED_XATTRS.includes(key)) {
      throw new NydusGdError("unsupported", `Cannot read "${printable(path)}": it has ${key}`);
    }
    if (!isContent(key)) continue;
    const value = lgetxattr(file, raw);
    xattrs.set(key, key === CAPABILITY ? withoutNamespace(value) : value);
  }
  return new Map([...xattrs].sort(([a], [b]) => a < b ? -1 : 1));
}

function listXattrs(file: Uint8Array): Uint8Array[] {
  try {
    return llistxattr(file);
  } catch (error) {
    if (isErrno(error, "EOPNOTSUPP")) return [];
    throw error;
  }
}

function isContent(key: ByteString): boolean {
  if (key.startsWith("security.")) return key === CAPABILITY;
  return !key.startsWith(OVERLAY_XATTR_PREFIX);
}

/** Capabilities of version 3 are for the root of one user namespace of this machine; those of version 2 for any. */
function withoutNamespace(capability: Uint8Array): Uint8Array {
  if (capability[CAP_DATA.version] !== 3) return capability;
  const plain = capability.slice(0, CAP_DATA.V2_SIZE);
  plain[CAP_DATA.version] = 2;
  return plain;
}
