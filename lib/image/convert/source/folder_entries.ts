/**
 * The entries of a folder: every file below it with all attributes, folders before their contents, sorted by name.
 *
 * File systems mounted below are included, as in tar without `--one-file-system`. Sockets are left out, since images
 * cannot contain them. A file that changes while it is read is an error.
 *
 * @module
 */
import { DT, readDirectory } from "../../../../ffi/dirent.ts";
import { isErrno } from "../../../../ffi/errno.ts";
import { AT, O, open } from "../../../../ffi/fcntl.ts";
import { major, minor, S, type Stat, statat } from "../../../../ffi/sys_stat.ts";
import { lgetxattr, llistxattr } from "../../../../ffi/sys_xattr.ts";
import { readlinkat } from "../../../../ffi/unistd.ts";
import { throwIfAborted } from "../../../base/abort.ts";
import { NODE_TYPES, type NodeType } from "../../../archive/node_type.ts";
import { type TarEntry, tarEntry } from "../../../archive/tar.ts";
import { type ByteString, compareBytes, toByteString } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { freeMemory } from "../../../base/free_memory.ts";
import { joinPath } from "../../../base/path_bytes.ts";
import { PATH_MAX } from "../../../rafs/walk.ts";
import type { OnBytes } from "../../source/counted.ts";
import type { Entries } from "../layer/build_layer.ts";
import type { LayerBuilder } from "../layer/layer_builder.ts";
import { showPath } from "../layer/layer_tree.ts";
import { changed, GONE } from "../chunks/parcel.ts";
import { ShortPath } from "../chunks/short_path.ts";

/** Entries between forced garbage collections: the runtime waits longer. */
const GARBAGE_ENTRIES = 30_000;

const NOTHING = new Uint8Array(0);

/** A path to visit. */
interface Found {
  /** Absolute. */
  readonly path: Uint8Array<ArrayBuffer>;
  readonly stat: Stat;
}

/** The entries of `folder`, an absolute path that may be a symbolic link. */
export function fromFolder(folder: string, onBytes: OnBytes, signal: AbortSignal): Entries {
  const root = new TextEncoder().encode(`${folder}/.`);
  return (builder) => new FolderWalk(root, builder, onBytes, signal).run();
}

class FolderWalk {
  /** First name of each file with several names. */
  readonly #links = new Map<string, Uint8Array>();

  constructor(
    private readonly root: Uint8Array<ArrayBuffer>,
    private readonly builder: LayerBuilder,
    private readonly onBytes: OnBytes,
    private readonly signal: AbortSignal,
  ) {}

  async run(): Promise<void> {
    const pending: Found[] = [{ path: this.root, stat: statat(AT.FDCWD, this.root, AT.SYMLINK_NOFOLLOW) }];
    let visited = 0;
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      throwIfAborted(this.signal);
      if (++visited % GARBAGE_ENTRIES === 0) await freeMemory();
      const type = NODE_TYPES[next.stat.mode & S.IFMT];
      if (type === undefined || this.#isLink(type, next)) continue; // sockets have no type here
      this.#requireShort(next.path);
      try {
        for (const found of this.#begin(type, next)) pending.push(found);
      } catch (error) {
        throw isErrno(error, ...GONE) ? changed(next.path, error) : error;
      }
      if (type === "file" && next.stat.size > 0) await this.#data(next);
      this.builder.endEntry();
    }
  }

  /** Adds what is at the path, without the data of a file. Returns the contents of a folder as {@link FolderWalk.#list}. */
  #begin(type: NodeType, found: Found): Found[] {
    using way = ShortPath.to(found.path);
    this.#entry(type, found, way.path);
    return type === "directory" ? this.#list(found.path, way.path) : [];
  }

  /** Name as in an archive: empty for the folder itself. */
  #nameOf(path: Uint8Array): Uint8Array {
    return path.subarray(this.root.length);
  }

  /** @throws {NydusGdError} "unsupported" for a path too long to be used in a container */
  #requireShort(path: Uint8Array): void {
    const name = this.#nameOf(path).subarray(1);
    if (name.length <= PATH_MAX) return;
    const shown = showPath([toByteString(name)]);
    throw new NydusGdError(
      "unsupported",
      `Cannot convert "${shown}": its path has ${name.length} bytes, at most ${PATH_MAX}`,
    );
  }

  /** Contents of a folder in reverse order of names. */
  #list(path: Uint8Array, way: Uint8Array): Found[] {
    using folder = open(way, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    const names: Uint8Array[] = [];
    for (const { name, type } of readDirectory(folder)) if (type !== DT.SOCK) names.push(name);
    return names.sort((a, b) => compareBytes(b, a)).map((name) => {
      return { path: joinPath(path, name), stat: statat(folder, name, AT.SYMLINK_NOFOLLOW) };
    });
  }

  #entry(type: NodeType, { path, stat }: Found, way: Uint8Array): void {
    this.builder.entry({
      type,
      name: this.#nameOf(path),
      ...attributesOf(stat),
      sizeBytes: type === "file" ? stat.size : 0,
      devMajor: major(stat.rdev),
      devMinor: minor(stat.rdev),
      linkName: type === "symlink" ? readlinkat(AT.FDCWD, way) : NOTHING,
      xattrs: xattrsOf(way),
    });
  }

  /** Whether it is another name of a file already seen; if so, adds a hard link. */
  #isLink(type: NodeType, { path, stat }: Found): boolean {
    if (type === "directory" || stat.nlink <= 1) return false;
    const key = `${stat.dev}:${stat.ino}`;
    const first = this.#links.get(key);
    if (first === undefined) {
      this.#links.set(key, this.#nameOf(path));
      return false;
    }
    const name = this.#nameOf(path);
    this.builder.entry(tarEntry({ type: "link", name, linkName: first, ...attributesOf(stat) }));
    this.builder.endEntry();
    return true;
  }

  async #data({ path, stat }: Found): Promise<void> {
    for (let offset = 0; offset < stat.size;) {
      const length = this.builder.chunkOf(path, stat, offset);
      offset += length;
      this.onBytes(length);
      if (this.builder.isFull) {
        await this.builder.settle();
        throwIfAborted(this.signal);
      }
    }
  }
}

function attributesOf({ mode, uid, gid, mtimeSec, mtimeNsec }: Stat) {
  return { mode: mode & 0o7777, uid, gid, mtimeSec, mtimeNsec };
}

/** Shared by files without attributes, which are most. */
const NO_XATTRS: TarEntry["xattrs"] = new Map();

function xattrsOf(path: Uint8Array): TarEntry["xattrs"] {
  try {
    const names = llistxattr(path);
    if (names.length === 0) return NO_XATTRS;
    const found = new Map<ByteString, Uint8Array>();
    for (const name of names) {
      const key = toByteString(name);
      // synthesised by the kernel for the current file system, not part of the file
      if (!key.startsWith("system.nfs") && key !== "security.selinux") found.set(key, lgetxattr(path, name));
    }
    return found;
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP")) throw error;
    return NO_XATTRS;
  }
}
