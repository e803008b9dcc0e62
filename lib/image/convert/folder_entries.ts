/**
 * The entries of a folder: every file below it with all its attributes, a folder before what is in it, names ascending.
 *
 * Other file systems that are mounted below are entered, as tar does without `--one-file-system`. Sockets are left out:
 * no image can have them. What changes while it is read is an error, not a guess.
 *
 * @module
 */
import { DT, readDirectory } from "../../../ffi/dirent.ts";
import { isErrno } from "../../../ffi/errno.ts";
import { AT, O, open } from "../../../ffi/fcntl.ts";
import { major, minor, S, type Stat, statat } from "../../../ffi/sys_stat.ts";
import { lgetxattr, llistxattr } from "../../../ffi/sys_xattr.ts";
import { readlinkat } from "../../../ffi/unistd.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { NODE_TYPES } from "../../archive/node_type.ts";
import { type TarEntry, tarEntry } from "../../archive/tar.ts";
import { type ByteString, compareBytes, concatenate, toByteString } from "../../base/bytes.ts";
import { freeMemory } from "../../base/free_memory.ts";
import type { Entries } from "./convert_tree.ts";
import type { LayerBuilder } from "./layer_builder.ts";
import type { OnBytes } from "./source_image.ts";

/** Entries after which what they left is collected: the runtime waits for longer. */
const GARBAGE_ENTRIES = 30_000;

const SLASH = Uint8Array.of(0x2f);
const HERE = Uint8Array.of(0x2e);

/** The entries of `folder`, an absolute path. */
export function fromFolder(folder: string, onBytes: OnBytes, signal: AbortSignal): Entries {
  return (builder) => new FolderWalk(new TextEncoder().encode(folder), builder, onBytes, signal).run();
}

class FolderWalk {
  /** First path of each file that has several. */
  readonly #links = new Map<string, Uint8Array>();

  constructor(
    private readonly root: Uint8Array,
    private readonly builder: LayerBuilder,
    private readonly onBytes: OnBytes,
    private readonly signal: AbortSignal,
  ) {}

  async run(): Promise<void> {
    const pending: Uint8Array[] = [HERE];
    let visited = 0;
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      throwIfAborted(this.signal);
      if (++visited % GARBAGE_ENTRIES === 0) await freeMemory();
      const isFolder = await this.#visit(path);
      if (isFolder) { for (const name of this.#names(path).reverse()) pending.push(concatenate([path, SLASH, name])); }
    }
  }

  #absolute(path: Uint8Array): Uint8Array {
    return concatenate([this.root, SLASH, path]);
  }

  #names(path: Uint8Array): Uint8Array[] {
    using folder = open(this.#absolute(path), O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    const names: Uint8Array[] = [];
    for (const { name, type } of readDirectory(folder)) {
      const isDots = name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
      if (!isDots && type !== DT.SOCK) names.push(name.slice());
    }
    return names.sort(compareBytes);
  }

  /** Whether it is a folder. */
  async #visit(path: Uint8Array): Promise<boolean> {
    const absolute = this.#absolute(path);
    const stat = statat(AT.FDCWD, absolute, AT.SYMLINK_NOFOLLOW);
    const type = NODE_TYPES[stat.mode & S.IFMT];
    if (type === undefined) return false; // a socket
    if (type !== "directory" && stat.nlink > 1 && this.#isLink(path, stat)) return false;
    this.builder.entry(tarEntry({
      type,
      name: path,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      mtimeSec: stat.mtimeSec,
      mtimeNsec: stat.mtimeNsec,
      sizeBytes: type === "file" ? stat.size : 0,
      devMajor: major(stat.rdev),
      devMinor: minor(stat.rdev),
      linkName: type === "symlink" ? readlinkat(AT.FDCWD, absolute) : new Uint8Array(0),
      xattrs: xattrsOf(absolute),
    }));
    if (type === "file") await this.#data(absolute, stat.size);
    this.builder.endEntry();
    return type === "directory";
  }

  #isLink(path: Uint8Array, { dev, ino }: Stat): boolean {
    const key = `${dev}:${ino}`;
    const first = this.#links.get(key);
    if (first === undefined) {
      this.#links.set(key, path);
      return false;
    }
    this.builder.entry(tarEntry({ type: "link", name: path, linkName: first }));
    this.builder.endEntry();
    return true;
  }

  async #data(absolute: Uint8Array, size: number): Promise<void> {
    const path = toByteString(absolute);
    for (let offset = 0; offset < size;) {
      const length = this.builder.chunkOf(path, offset);
      offset += length;
      this.onBytes(length);
      if (this.builder.isFull) {
        await this.builder.settle();
        throwIfAborted(this.signal);
      }
    }
  }
}

function xattrsOf(path: Uint8Array): TarEntry["xattrs"] {
  const found = new Map<ByteString, Uint8Array>();
  try {
    for (const name of llistxattr(path)) {
      const key = toByteString(name);
      // computed by the kernel for the file system at hand, not part of the file
      if (!key.startsWith("system.nfs") && key !== "security.selinux") found.set(key, lgetxattr(path, name));
    }
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP")) throw error;
  }
  return found;
}
