/**
 * Reads the tree of a local folder.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readDirectory } from "../../../ffi/dirent.ts";
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import { AT, O, open, openat } from "../../../ffi/fcntl.ts";
import { type Fd, pathBelow } from "../../../ffi/fd.ts";
import { S, type Stat, statat } from "../../../ffi/sys_stat.ts";
import { lgetxattr, llistxattr } from "../../../ffi/sys_xattr.ts";
import { read, readlinkat } from "../../../ffi/unistd.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { type ByteString, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { OWN_NAME } from "../../base/path_bytes.ts";
import { isDevice } from "../../rafs/format/inode_mode.ts";
import { type SourceInode, SourceTree } from "./source_tree.ts";

const BUFFER_BYTES = 1 << 20;

/**
 * Reads a folder recursively.
 *
 * @throws {NydusGdError} "not-found" if it is not a folder; "io" if it cannot be read
 */
export function folderTree(dir: string, signal: AbortSignal): SourceTree {
  try {
    using root = open(dir, O.RDONLY | O.DIRECTORY);
    return new FolderReader(root, signal).read();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const code = isErrno(error, "ENOENT", "ENOTDIR") ? "not-found" : "io";
    throw new NydusGdError(code, `Cannot read folder ${dir}: ${error.message}`, { cause: error });
  }
}

class FolderReader {
  readonly #tree = new SourceTree();
  /** Inodes with several names, by device and inode number. */
  readonly #shared = new Map<string, SourceInode>();
  readonly #buffer = new Uint8Array(BUFFER_BYTES);

  constructor(private readonly root: Fd, private readonly signal: AbortSignal) {}

  read(): SourceTree {
    this.#tree.put([], this.#inode(this.root, OWN_NAME, statat(this.root, OWN_NAME)));
    this.#readFolder(this.root, []);
    return this.#tree;
  }

  #readFolder(folder: Fd, path: readonly ByteString[]): void {
    for (const name of [...readDirectory(folder)].map(({ name }) => name.slice())) {
      throwIfAborted(this.signal);
      const stat = statat(folder, name, AT.SYMLINK_NOFOLLOW);
      const key = `${stat.dev}:${stat.ino}`;
      const isFolder = (stat.mode & S.IFMT) === S.IFDIR;
      const inode = this.#shared.get(key) ?? this.#inode(folder, name, stat);
      if (stat.nlink > 1 && !isFolder) this.#shared.set(key, inode);
      const childPath = [...path, toByteString(name)];
      this.#tree.put(childPath, inode);
      if (!isFolder) continue;
      using child = openat(folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      this.#readFolder(child, childPath);
    }
  }

  #inode(folder: Fd, name: Uint8Array, stat: Stat): SourceInode {
    const { mode, uid, gid, mtimeSec, mtimeNsec, rdev, size } = stat;
    const place = pathBelow(folder, name);
    const type = mode & S.IFMT;
    return {
      mode,
      uid,
      gid,
      mtime: mtimeSec,
      mtimeNsec,
      rdev: isDevice(mode) ? rdev : 0,
      size: type === S.IFREG ? size : 0,
      digest: type === S.IFREG ? this.#digest(folder, name) : "",
      target: type === S.IFLNK ? toByteString(readlinkat(folder, name)) : "",
      xattrs: new Map(llistxattr(place).map((xattr) => [toByteString(xattr), lgetxattr(place, xattr)])),
    };
  }

  #digest(folder: Fd, name: Uint8Array): string {
    using file = openat(folder, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    const hash = createHash("sha256");
    for (let count = read(file, this.#buffer); count > 0; count = read(file, this.#buffer)) {
      throwIfAborted(this.signal);
      hash.update(this.#buffer.subarray(0, count));
    }
    return hash.digest("hex");
  }
}
