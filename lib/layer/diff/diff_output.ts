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
 * The tree may be in use, as by `docker commit --pause=false`: what vanishes before its turn is left out. A file that
 * becomes shorter while it is read is an error.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, openat } from "../../../ffi/fcntl.ts";
import { type Fd, pathBelow, procFdPath } from "../../../ffi/fd.ts";
import { fstat, major, minor, S, type Stat } from "../../../ffi/sys_stat.ts";
import { getxattr, lgetxattr, listxattr, llistxattr } from "../../../ffi/sys_xattr.ts";
import { pread, readlinkat } from "../../../ffi/unistd.ts";
import { entryName, printable } from "../../archive/entry_path.ts";
import { NODE_TYPES, type NodeType } from "../../archive/node_type.ts";
import { type TarEntry, tarEntry } from "../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import { OVERLAY_XATTR_PREFIX } from "../../archive/whiteout.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { type IdMaps, toContainer } from "../userns/id_maps.ts";
import { ifPresent } from "./changes_view.ts";

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

  /**
   * Writes `name` of `folder` under the name `path`; nothing if it has vanished.
   *
   * @param found its attributes a moment ago. A file that was put in its place since is written instead
   */
  *node(folder: Fd, name: Uint8Array, path: ByteString, found: Stat): Pieces {
    const type = NODE_TYPES[found.mode & S.IFMT];
    if (type === undefined) return;
    using file = type === "file" ? ifPresent(() => openFile(folder, name, path)) : undefined;
    if (type === "file" && file === undefined) return;
    const stat = file === undefined ? found : fstat(file);
    const entry = ifPresent(() => this.#entryOf(type, path, stat, { folder, name, file }));
    if (entry === undefined) return;
    const first = type === "directory" || stat.nlink === 1 ? undefined : this.#firstName(stat, path);
    if (first !== undefined) {
      const link = { type: "link", linkName: fromByteString(first), sizeBytes: 0, devMajor: 0, devMinor: 0 } as const;
      yield* this.#put(encodeTarHeader({ ...entry, ...link }));
      return;
    }
    yield* this.#put(encodeTarHeader(entry));
    if (file !== undefined) yield* this.#data(file, entry);
  }

  #entryOf(type: NodeType, path: ByteString, stat: Stat, place: Place): TarEntry {
    const owner = toContainer(this.#idMaps, stat);
    if (owner === undefined) throw outside(path, stat);
    const isDevice = type === "char" || type === "block";
    return tarEntry({
      type,
      name: fromByteString(path),
      mode: stat.mode & 0o7777,
      uid: owner.uid,
      gid: owner.gid,
      mtimeSec: stat.mtimeSec,
      mtimeNsec: stat.mtimeNsec,
      xattrs: readXattrs(place, path),
      ...(type === "file" ? { sizeBytes: stat.size } : {}),
      ...(type === "symlink" ? { linkName: readlinkat(place.folder, place.name) } : {}),
      ...(isDevice ? { devMajor: major(stat.rdev), devMinor: minor(stat.rdev) } : {}),
    });
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

  *#data(file: Fd, entry: TarEntry): Pieces {
    const { sizeBytes } = entry;
    for (let at = 0; at < sizeBytes;) {
      const room = Math.min(PIECE_BYTES - this.#used, sizeBytes - at);
      const count = pread(file, this.#piece.subarray(this.#used, this.#used + room), at);
      if (count === 0) throw changed(entry.name, `it ended at ${at} of ${sizeBytes} bytes`);
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

/** Where a file is. */
interface Place {
  readonly folder: Fd;
  readonly name: Uint8Array;
  /** The file itself, if it was opened. */
  readonly file: Fd | undefined;
}

function openFile(folder: Fd, name: Uint8Array, path: ByteString): Fd {
  const file = openat(folder, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
  if ((fstat(file).mode & S.IFMT) === S.IFREG) return file;
  file[Symbol.dispose]();
  throw changed(fromByteString(path), "it was replaced");
}

function changed(name: Uint8Array, state: string): NydusGdError {
  return new NydusGdError("io", `Cannot read "${entryName(name)}": ${state} while it was read`);
}

function outside(path: ByteString, { uid, gid }: Stat): NydusGdError {
  const state = `its owner ${uid}:${gid} is outside the user namespace`;
  return new NydusGdError("io", `Cannot read "${printable(path)}": ${state}`);
}

function readXattrs(place: Place, path: ByteString): Map<ByteString, Uint8Array> {
  const xattrs = new Map<ByteString, Uint8Array>();
  const { list, get } = xattrCalls(place);
  for (const raw of unlessUnsupported(list)) {
    const key = toByteString(raw);
    if (REFUSED_XATTRS.includes(key)) {
      throw new NydusGdError("unsupported", `Cannot read "${printable(path)}": it has ${key}`);
    }
    if (!isContent(key)) continue;
    const value = get(raw);
    xattrs.set(key, key === CAPABILITY ? withoutNamespace(value) : value);
  }
  return new Map([...xattrs].sort(([a], [b]) => a < b ? -1 : 1));
}

/** The calls for an open file, and for what cannot be opened and is not followed. */
function xattrCalls({ folder, name, file }: Place) {
  if (file !== undefined) {
    const path = procFdPath(file);
    return { list: () => listxattr(path), get: (key: Uint8Array) => getxattr(path, key) };
  }
  const path = pathBelow(folder, name);
  return { list: () => llistxattr(path), get: (key: Uint8Array) => lgetxattr(path, key) };
}

function unlessUnsupported(list: () => Uint8Array[]): Uint8Array[] {
  try {
    return list();
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
