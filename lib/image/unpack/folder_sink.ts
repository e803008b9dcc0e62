/**
 * Unpacks a tree into a folder, with owners, devices, extended attributes, hard links, holes and times of the image.
 *
 * ```
 * DIR/.nydus-gd-unpack-XXXXXXXX/tree/…   while it is written
 * DIR/…                                  once it is complete
 * ```
 * The tree is first written to a staging folder inside DIR, so that an interrupted run is recognizable. Nothing is
 * written outside DIR, whatever the names: each entry is created relative to a descriptor of its folder, and links are
 * never followed. Folders get owner, mode, attributes and times last, since new entries would inherit some of them or
 * change the times.
 *
 * Failure: {@link NydusGdError} "io" that names the path.
 *
 * @module
 */
import { dirname } from "node:path";
import { readDirectory } from "../../../ffi/dirent.ts";
import { isErrno } from "../../../ffi/errno.ts";
import { AT, O, open, openat } from "../../../ffi/fcntl.ts";
import { type Fd, pathBelow } from "../../../ffi/fd.ts";
import { fchmod, fchmodat, type FileTimes, futimens, mkdirat, mknodat, S, utimensat } from "../../../ffi/sys_stat.ts";
import { fremovexattr, fsetxattr, lsetxattr } from "../../../ffi/sys_xattr.ts";
import {
  fchownat,
  ftruncate,
  linkat,
  pwriteAll,
  RENAME,
  renameat2,
  symlinkat,
  syncfsOffThread,
  unlinkat,
} from "../../../ffi/unistd.ts";
import { type ByteString, fromByteString } from "../../base/bytes.ts";
import { writeFailure } from "../../base/disk_full.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { FileLock } from "../../base/file_lock.ts";
import { tryLockFolder } from "../../base/folder_lock.ts";
import { printable, splitPath } from "../../archive/entry_path.ts";
import { ApplyTree } from "../../layer/apply/apply_tree.ts";
import type { InodeAttr } from "../../rafs/bootstrap.ts";
import type { LeftOut, TreeSink, UnpackedEntry } from "./tree_sink.ts";
import { filledRuns } from "./filled_runs.ts";

/** Prefix of the staging folder's name. */
const STAGING = ".nydus-gd-unpack-";

/** Attributes that a new folder may inherit from its parent. */
const INHERITED = ["system.posix_acl_default", "system.posix_acl_access"];

interface Metadata {
  readonly attr: Pick<InodeAttr, "mode" | "uid" | "gid" | "mtime" | "mtimeNsec">;
  readonly xattrs: UnpackedEntry["xattrs"];
}

/** Writes a tree into a folder. */
export class FolderSink implements TreeSink {
  readonly leftOut: LeftOut = { xattrs: 0, sockets: 0 };
  readonly #tree: ApplyTree;
  readonly #folders: (Metadata & { readonly path: ByteString })[] = [];
  #file: (Metadata & { readonly fd: Fd; readonly path: ByteString; readonly size: number }) | undefined;
  /** Names moved to their final place so far. */
  readonly #moved: Uint8Array[] = [];

  /** @param lock on `dir`: nobody else unpacks into it */
  private constructor(
    readonly dir: string,
    readonly staging: string,
    private readonly isNew: boolean,
    private readonly lock: FileLock,
  ) {
    this.#tree = new ApplyTree(`${staging}/tree`, { uid: 0, gid: 0 });
    for (const name of INHERITED) {
      try {
        fremovexattr(this.#tree.root, name);
      } catch (error) {
        if (!isErrno(error, "ENODATA", "EOPNOTSUPP")) throw error;
      }
    }
    fchmod(this.#tree.root, 0o700);
  }

  /**
   * Starts unpacking into `dir`, which is created if it is missing.
   *
   * @throws {NydusGdError} "environment" without root; "exists" if `dir` is not an empty folder; "busy" while another
   * process unpacks into it
   */
  static async open(dir: string): Promise<FolderSink> {
    if (Deno.uid() !== 0) {
      throw new NydusGdError("environment", `Cannot unpack into ${dir}: owners and devices need root`, {
        hint: "sudo nydus-gd unpack …, or unpack to a tar",
      });
    }
    if (dir === "") {
      throw new NydusGdError("usage", "Cannot unpack: the folder is missing", { hint: "name a new folder" });
    }
    const info = await ignore(Deno.errors.NotFound, Deno.stat(dir));
    const isNew = info === undefined;
    if (isNew) await makeFolder(dir);
    else if (!info.isDirectory) {
      throw new NydusGdError("exists", `Cannot unpack into ${dir}: it is not a folder`, { hint: "name a new folder" });
    }
    try {
      return await FolderSink.#start(dir, isNew);
    } catch (error) {
      if (isNew) removeIfEmpty(dir);
      throw error;
    }
  }

  static async #start(dir: string, isNew: boolean): Promise<FolderSink> {
    const lock = requireLock(await Deno.realPath(dir));
    try {
      await requireEmpty(dir);
      const staging = await Deno.makeTempDir({ dir, prefix: STAGING });
      await Deno.mkdir(`${staging}/tree`, { mode: 0o700 });
      return new FolderSink(dir, staging, isNew, lock);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  entry(entry: UnpackedEntry): void {
    this.#endFile();
    this.#guard(entry.path, () => this.#make(entry));
  }

  data(bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    const file = this.#file;
    if (file === undefined) throw new NydusGdError("internal", "Cannot unpack: there are data of no file");
    this.#guard(file.path, () => {
      for (const { start, end } of filledRuns(bytes)) pwriteAll(file.fd, bytes.subarray(start, end), offset + start);
    });
  }

  async finish(): Promise<void> {
    this.#endFile();
    for (const { path, ...metadata } of this.#folders.slice(1).reverse()) {
      this.#guard(path, () => {
        const { parent, base } = splitPath(path);
        using folder = openat(this.#tree.folder(parent), base, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
        this.#describe(folder, metadata);
      });
    }
    await syncfsOffThread(this.#tree.root);
    using dir = open(this.dir, O.RDONLY | O.DIRECTORY);
    for (const name of [...readDirectory(this.#tree.root)].map(({ name }) => name.slice())) {
      renameat2(this.#tree.root, name, dir, name, RENAME.NOREPLACE);
      this.#moved.push(name);
    }
    this.#tree[Symbol.dispose]();
    await Deno.remove(this.staging, { recursive: true });
    const [root] = this.#folders;
    if (root !== undefined) this.#guard("", () => this.#describe(dir, root));
    this.lock[Symbol.dispose]();
  }

  async discard(): Promise<void> {
    using _lock = this.lock;
    this.#file?.fd[Symbol.dispose]();
    this.#tree[Symbol.dispose]();
    {
      using dir = new ApplyTree(this.dir, { uid: 0, gid: 0 });
      for (const name of this.#moved) dir.remove(String.fromCharCode(...name));
    }
    await ignore(Deno.errors.NotFound, Deno.remove(this.staging, { recursive: true }));
    if (this.isNew) await ignore(Deno.errors.NotFound, Deno.remove(this.dir));
  }

  #make(entry: UnpackedEntry): void {
    const { path, linkTo, target, attr: { mode, uid, gid, mtime, mtimeNsec, rdev, size }, xattrs } = entry;
    const metadata = { attr: { mode, uid, gid, mtime, mtimeNsec }, xattrs };
    if (path === "") return void this.#folders.push({ path, ...metadata });
    const { parent, base } = splitPath(path);
    const folder = this.#tree.folder(parent);
    if (linkTo !== undefined) return this.#link(linkTo, folder, base);
    switch (mode & S.IFMT) {
      case S.IFDIR:
        mkdirat(folder, base, 0o700);
        this.#folders.push({ path, ...metadata });
        return;
      case S.IFREG: {
        const fd = openat(folder, base, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
        this.#file = { fd, path, size, ...metadata };
        return;
      }
      case S.IFLNK:
        symlinkat(target, folder, base);
        break;
      default:
        mknodat(folder, base, (mode & S.IFMT) | 0o600, rdev);
    }
    fchownat(folder, base, uid, gid, AT.SYMLINK_NOFOLLOW);
    const place = pathBelow(folder, base);
    this.#setXattrs(xattrs, (name, value) => lsetxattr(place, name, value));
    if ((mode & S.IFMT) !== S.IFLNK) fchmodat(folder, base, mode & 0o7777);
    utimensat(folder, base, timesOf(metadata), AT.SYMLINK_NOFOLLOW);
  }

  #link(linkTo: ByteString, folder: Fd, base: Uint8Array): void {
    const first = splitPath(linkTo);
    // a descriptor returned by the tree is valid only until the next call
    using into = openat(folder, ".", O.PATH | O.DIRECTORY);
    linkat(this.#tree.folder(first.parent), first.base, into, base);
  }

  #endFile(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    using fd = file.fd;
    this.#guard(file.path, () => {
      ftruncate(fd, file.size);
      this.#describe(fd, file);
    });
  }

  /**
   * Sets the owner before the mode, since chown clears setuid; attributes after the owner, since chown clears
   * capabilities, and before the mode, which an ACL changes; times last.
   */
  #describe(fd: Fd, metadata: Metadata): void {
    const { attr: { mode, uid, gid }, xattrs } = metadata;
    fchownat(fd, "", uid, gid, AT.EMPTY_PATH);
    this.#setXattrs(xattrs, (name, value) => fsetxattr(fd, name, value));
    fchmod(fd, mode & 0o7777);
    futimens(fd, timesOf(metadata));
  }

  #setXattrs(xattrs: UnpackedEntry["xattrs"], set: (name: Uint8Array, value: Uint8Array) => void): void {
    for (const [name, value] of xattrs) {
      try {
        set(fromByteString(name), value);
      } catch (error) {
        if (!isErrno(error, "EOPNOTSUPP", "EPERM", "ENOSPC", "E2BIG", "ERANGE")) throw error;
        this.leftOut.xattrs++;
      }
    }
  }

  #guard(path: ByteString, step: () => void): void {
    try {
      step();
    } catch (error) {
      throw writeFailure(error, `unpack "/${printable(path)}" into ${this.dir}`, this.dir);
    }
  }
}

async function makeFolder(dir: string): Promise<void> {
  try {
    await Deno.mkdir(dir, { mode: 0o755 });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new NydusGdError("not-found", `Cannot unpack into ${dir}: its parent folder does not exist`, {
      hint: `mkdir -p ${dirname(dir)}`,
      cause: error,
    });
  }
}

function removeIfEmpty(dir: string): void {
  try {
    unlinkat(AT.FDCWD, dir, AT.REMOVEDIR);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST", "ENOENT")) throw error;
  }
}

function requireLock(dir: string): FileLock {
  const lock = tryLockFolder(dir);
  if (lock !== undefined) return lock;
  throw new NydusGdError("busy", `Cannot unpack into ${dir}: another process unpacks into it`);
}

async function requireEmpty(dir: string): Promise<void> {
  for await (const { name } of Deno.readDir(dir)) {
    throw new NydusGdError("exists", `Cannot unpack into ${dir}: it is not empty`, {
      hint: name.startsWith(STAGING)
        ? `rm -r ${dir}/${name}: left behind by an interrupted unpack`
        : "name a new folder",
    });
  }
}

function timesOf({ attr: { mtime, mtimeNsec } }: Metadata): FileTimes {
  const time = { sec: mtime, nsec: mtimeNsec };
  return { atime: time, mtime: time };
}
