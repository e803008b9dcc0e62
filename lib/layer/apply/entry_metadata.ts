/**
 * Sets owners, modes, extended attributes and times of the files that entries of a tar become.
 *
 * Times of folders come last, since whatever is put into a folder changes them. The mode comes after owner and
 * attributes: chown clears setuid, and an ACL changes the mode.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { AT } from "../../../ffi/fcntl.ts";
import { type Fd, pathBelow } from "../../../ffi/fd.ts";
import { fchmod, fchmodat, type FileTimes, futimens, S, statat, utimensat } from "../../../ffi/sys_stat.ts";
import { fsetxattr, lsetxattr } from "../../../ffi/sys_xattr.ts";
import { fchownat } from "../../../ffi/unistd.ts";
import { splitPath } from "../../archive/entry_path.ts";
import type { TarEntry } from "../../archive/tar.ts";
import { OVERLAY_XATTR_PREFIX } from "../../archive/whiteout.ts";
import { type ByteString, fromByteString } from "../../base/bytes.ts";
import type { ApplyTree } from "./apply_tree.ts";
import { NewFiles } from "./new_file.ts";

/** The attributes of one layer's files. Methods throw {@link SyscallError}. */
export class EntryMetadata {
  readonly #newFiles: NewFiles;
  /** Times of folders in the tar, by path; set once nothing more is put into them. */
  readonly #folderTimes = new Map<ByteString, FileTimes>();
  #skippedXattrs = 0;

  constructor(private readonly tree: ApplyTree) {
    this.#newFiles = new NewFiles(tree.root);
  }

  /** Number of extended attributes that the file system refused. */
  get skippedXattrs(): number {
    return this.#skippedXattrs;
  }

  /** The mode to create a file with: that of the entry if the file will have it. */
  creationMode(entry: TarEntry): number {
    return this.#newFiles.creationMode(entry);
  }

  /** @param createdMode the mode that the file was created with */
  ofFile(entry: TarEntry, file: Fd, createdMode: number): void {
    if (!this.#newFiles.hasOwner(entry)) fchownat(file, "", entry.uid, entry.gid, AT.EMPTY_PATH);
    this.#setXattrs(entry, (name, value) => fsetxattr(file, name, value));
    if (createdMode !== entry.mode || entry.xattrs.size > 0) fchmod(file, entry.mode);
    futimens(file, timesOf(entry));
  }

  ofFolder(entry: TarEntry, path: ByteString, folder: Fd): void {
    fchownat(folder, "", entry.uid, entry.gid, AT.EMPTY_PATH);
    this.#setXattrs(entry, (name, value) => fsetxattr(folder, name, value));
    fchmod(folder, entry.mode);
    this.#newFiles.folder(entry.mode, entry.gid, entry.xattrs.keys());
    this.#folderTimes.set(path, timesOf(entry));
  }

  /** For what cannot be opened: symbolic links, devices, fifos. */
  ofNode(entry: TarEntry, parent: ByteString, base: Uint8Array): void {
    const folder = this.tree.folder(parent);
    if (!this.#newFiles.hasOwner(entry)) fchownat(folder, base, entry.uid, entry.gid, AT.SYMLINK_NOFOLLOW);
    this.#setNodeXattrs(entry, folder, base);
    if (entry.type !== "symlink") fchmodat(folder, base, entry.mode);
    utimensat(folder, base, timesOf(entry), AT.SYMLINK_NOFOLLOW);
  }

  /**
   * For a new name of an existing file: its entry describes the file anew, as in Docker. An owner that is the same is
   * not set again, since that would remove capabilities, which not every writer of archives repeats.
   */
  ofHardLink(entry: TarEntry, parent: ByteString, base: Uint8Array): void {
    const folder = this.tree.folder(parent);
    const { uid, gid, mode } = statat(folder, base, AT.SYMLINK_NOFOLLOW);
    if (uid !== entry.uid || gid !== entry.gid) {
      fchownat(folder, base, entry.uid, entry.gid, AT.SYMLINK_NOFOLLOW);
    }
    this.#setNodeXattrs(entry, folder, base);
    if ((mode & S.IFMT) !== S.IFLNK) fchmodat(folder, base, entry.mode);
    utimensat(folder, base, timesOf(entry), AT.SYMLINK_NOFOLLOW);
  }

  /** Forgets the folders at and below a path that was removed. */
  forget(path: ByteString): void {
    for (const folder of this.#folderTimes.keys()) {
      if (folder === path || folder.startsWith(path + "/")) this.#folderTimes.delete(folder);
    }
  }

  /** To be called once, after the last entry. */
  setFolderTimes(): void {
    for (const [path, times] of this.#folderTimes) {
      const { parent, base } = splitPath(path);
      try {
        utimensat(this.tree.folder(parent), base, times, AT.SYMLINK_NOFOLLOW);
      } catch (error) {
        if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error; // a later entry took its place
      }
    }
  }

  #setNodeXattrs(entry: TarEntry, folder: Fd, base: Uint8Array): void {
    if (entry.xattrs.size === 0) return;
    const path = pathBelow(folder, base);
    this.#setXattrs(entry, (name, value) => lsetxattr(path, name, value));
  }

  #setXattrs(entry: TarEntry, set: (name: Uint8Array, value: Uint8Array) => void): void {
    for (const [name, value] of entry.xattrs) {
      if (name.startsWith(OVERLAY_XATTR_PREFIX)) continue;
      try {
        set(fromByteString(name), value);
      } catch (error) {
        if (!isErrno(error, "EOPNOTSUPP", "EPERM")) throw error;
        this.#skippedXattrs++;
      }
    }
  }
}

function timesOf(entry: TarEntry): FileTimes {
  const mtime = { sec: entry.mtimeSec, nsec: entry.mtimeNsec };
  return { atime: mtime, mtime };
}
