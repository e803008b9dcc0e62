/**
 * The folder that a layer is unpacked into. No name resolves outside of it.
 *
 * Names are resolved by openat2(2) with RESOLVE_IN_ROOT relative to the root's descriptor: "..", absolute names and
 * symbolic links stay inside, as in a chroot. Only the last component of a name is created or removed, relative to the
 * descriptor of its folder, and never followed. Descriptors of folders are cached, because a tar lists a folder's files
 * consecutively. The cache is dropped whenever a folder or symbolic link is removed, so that no stale name is used.
 *
 * Paths are those of lib/archive/entry_path.ts.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { AT, O, open, openat, openat2, RESOLVE } from "../../../ffi/fcntl.ts";
import { readDirectory } from "../../../ffi/dirent.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { fchmodat, mkdirat, S, statat } from "../../../ffi/sys_stat.ts";
import { fchownat, unlinkat } from "../../../ffi/unistd.ts";
import { printable, splitPath } from "../../archive/entry_path.ts";
import { type ByteString, fromByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { isWhiteout, setOpaqueMark } from "../overlay/overlay_marks.ts";
import type { Owner } from "../userns/id_maps.ts";

/** Maximum number of cached folder descriptors. */
const KEPT_FOLDERS = 64;

/** Mode of folders that only occur within paths of the tar. */
const IMPLIED_MODE = 0o755;

/** Creates and removes files below one root. */
export class ApplyTree implements Disposable {
  readonly root: Fd;
  /** In order of use, most recent last. */
  readonly #folders = new Map<ByteString, Fd>();

  /**
   * @param folder an existing folder, whose own path is trusted
   * @param impliedOwner owner of folders that only occur within paths of the tar
   */
  constructor(folder: string, readonly impliedOwner: Owner) {
    this.root = open(folder, O.RDONLY | O.DIRECTORY);
  }

  /**
   * Opens the folder at `path`, creating it and its parents if missing.
   *
   * The descriptor belongs to the tree and is valid until the next call.
   *
   * @throws {NydusGdError} if a file or a dangling symbolic link is in the way
   */
  makeFolder(path: ByteString): Fd {
    const kept = this.#kept(path);
    if (kept !== undefined) return kept;
    try {
      return this.#keep(path, this.#open(path));
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    }
    const { parent, base } = splitPath(path);
    const above = this.makeFolder(parent);
    if (this.makeChild(above, base, IMPLIED_MODE) === "in the way") {
      throw new NydusGdError("invalid-image", `Cannot unpack into "${printable(path)}": it is not a folder`);
    }
    fchmodat(above, base, IMPLIED_MODE);
    fchownat(above, base, this.impliedOwner.uid, this.impliedOwner.gid, AT.SYMLINK_NOFOLLOW);
    return this.#keep(path, this.#open(path));
  }

  /**
   * Opens the folder at `path`; validity as for {@link makeFolder}.
   *
   * @throws {SyscallError} ENOENT, ENOTDIR
   */
  folder(path: ByteString): Fd {
    return this.#kept(path) ?? this.#keep(path, this.#open(path));
  }

  /**
   * Creates a folder. A whiteout of the same layer is replaced by an opaque folder, which hides what is below just as
   * well.
   *
   * @returns "exists": there is a folder already; "in the way": something else is there and is kept
   */
  makeChild(parent: Fd, base: Uint8Array, mode: number): "made" | "exists" | "in the way" {
    try {
      mkdirat(parent, base, mode);
      return "made";
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const stat = statat(parent, base, AT.SYMLINK_NOFOLLOW);
    if ((stat.mode & S.IFMT) === S.IFDIR) return "exists";
    if (!isWhiteout(stat)) return "in the way";
    unlinkat(parent, base);
    mkdirat(parent, base, mode);
    setOpaqueMark(parent, base);
    return "made";
  }

  /**
   * Caches the descriptor of a folder that was just created or opened, and takes ownership of it.
   *
   * It must be the folder that {@link folder} would find at `path`.
   */
  adopt(path: ByteString, folder: Fd): void {
    this.#keep(path, folder);
  }

  /**
   * Removes what is at `path`, recursively. Invalidates descriptors returned before.
   *
   * @returns bytes of the files and symbolic links whose last name this was
   */
  remove(path: ByteString): number {
    const { parent, base } = splitPath(path);
    const above = this.folder(parent);
    const freed = removeEntry(above, base);
    this.#forget();
    return freed;
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.root[Symbol.dispose]();
  }

  #open(path: ByteString): Fd {
    const resolve = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
    return openat2(this.root, fromByteString(path), { flags: O.PATH | O.DIRECTORY, resolve });
  }

  #kept(path: ByteString): Fd | undefined {
    if (path === "") return this.root;
    const folder = this.#folders.get(path);
    if (folder === undefined) return undefined;
    this.#folders.delete(path);
    this.#folders.set(path, folder);
    return folder;
  }

  #keep(path: ByteString, folder: Fd): Fd {
    this.#folders.get(path)?.[Symbol.dispose]();
    this.#folders.delete(path);
    this.#folders.set(path, folder);
    if (this.#folders.size > KEPT_FOLDERS) {
      const [oldest] = this.#folders;
      if (oldest !== undefined) {
        oldest[1][Symbol.dispose]();
        this.#folders.delete(oldest[0]);
      }
    }
    return folder;
  }

  #forget(): void {
    for (const folder of this.#folders.values()) folder[Symbol.dispose]();
    this.#folders.clear();
  }
}

function removeEntry(parent: Fd, base: Uint8Array): number {
  const stat = statat(parent, base, AT.SYMLINK_NOFOLLOW);
  if ((stat.mode & S.IFMT) !== S.IFDIR) {
    unlinkat(parent, base);
    return stat.nlink === 1 ? stat.size : 0;
  }
  using folder = openat(parent, base, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  let freed = 0;
  for (const { name } of [...readDirectory(folder)]) freed += removeEntry(folder, name);
  unlinkat(parent, base, AT.REMOVEDIR);
  return freed;
}
