/**
 * Applies the entries of a layer's tar to the tree: names and data here, attributes in entry_metadata.ts. The rules are
 * in apply.ts.
 *
 * @module
 */
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import { AT, O, openat, startWriteback } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { makedev, mknodat, S, statat } from "../../../ffi/sys_stat.ts";
import { ftruncate, linkat, pwriteAll, symlinkat } from "../../../ffi/unistd.ts";
import { cleanPath, entryName, splitPath } from "../../archive/entry_path.ts";
import type { TarEntry } from "../../archive/tar.ts";
import type { TarVisitor } from "../../archive/tar_reader.ts";
import { AUFS_LINKS, isAufsLink, parseWhiteout, type WhiteoutName } from "../../archive/whiteout.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { mayBeBootstrap } from "../lazy/bootstrap_layer.ts";
import { isWhiteout, setOpaqueMark } from "../overlay/overlay_marks.ts";
import { type IdMaps, toHost } from "../userns/id_maps.ts";
import type { ApplyTree } from "./apply_tree.ts";
import { EntryMetadata } from "./entry_metadata.ts";

/** Result of applying the entries of a tar. */
export interface AppliedEntries {
  /** Bytes of files and symbolic links, each inode once: the layer's size in Docker. */
  readonly sizeBytes: number;
  /** Number of extended attributes that the file system refused (EOPNOTSUPP, EPERM). Docker skips them, too. */
  readonly skippedXattrs: number;
}

const MAX_MAJOR = (1 << 12) - 1;
const MAX_MINOR = (1 << 20) - 1;

/**
 * Bytes of one file after which writeback is started while unpacking continues. Smaller files are left to the final
 * sync: writing each separately costs more than it gains.
 */
const WRITEBACK_BYTES = 8 << 20;

/** Applies entries to the tree as they arrive. */
export class EntryWriter implements TarVisitor, Disposable {
  readonly #tree: ApplyTree;
  readonly #idMaps: IdMaps;
  readonly #metadata: EntryMetadata;
  #sizeBytes = 0;
  #mayBeBootstrap = true;
  /** Whether there are files that only hard links of AUFS need. */
  #hasLinkFiles = false;

  /** The file that receives data; undefined while the current entry has no data or is skipped. */
  #file: Fd | undefined;
  #entry: TarEntry | undefined;
  #writtenTo = 0;
  /** Offset up to which writeback has been started. */
  #writebackTo = 0;
  /** Mode that the file was created with. */
  #createdMode = 0;

  /** @param idMaps maps the entries' container ids */
  constructor(tree: ApplyTree, idMaps: IdMaps) {
    this.#tree = tree;
    this.#idMaps = idMaps;
    this.#metadata = new EntryMetadata(tree);
  }

  /** Whether the names so far match a bootstrap layer. */
  get mayBeBootstrap(): boolean {
    return this.#mayBeBootstrap;
  }

  /** Totals so far. */
  get result(): AppliedEntries {
    return { sizeBytes: this.#sizeBytes, skippedXattrs: this.#metadata.skippedXattrs };
  }

  entry(entry: TarEntry, at: number): void {
    this.#entry = entry;
    this.#guard(() => this.#begin(entry), at);
  }

  data(piece: Uint8Array, offset: number): void {
    if (this.#file === undefined) return;
    try {
      pwriteAll(this.#file, piece, offset);
      this.#writtenTo = offset + piece.length;
      if (this.#writtenTo - this.#writebackTo >= WRITEBACK_BYTES) {
        startWriteback(this.#file, this.#writebackTo, this.#writtenTo - this.#writebackTo);
        this.#writebackTo = this.#writtenTo;
      }
    } catch (error) {
      throw this.#explain(error, undefined);
    }
  }

  endEntry(): void {
    if (this.#file !== undefined) this.#guard(() => this.#endFile(), undefined);
  }

  /** To be called once, after the last entry. */
  finish(): void {
    if (this.#hasLinkFiles) this.#remove(AUFS_LINKS);
    this.#metadata.setFolderTimes();
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
    this.#file = undefined;
  }

  #begin(entry: TarEntry): void {
    const path = cleanPath(toByteString(entry.name));
    if (path === undefined || path === "") throw refused("its name leads out of the layer");
    checkDevice(entry);
    this.#shiftOwner(entry);
    const { parent, base } = splitPath(path);
    const isLinkFile = isAufsLink(path);
    this.#hasLinkFiles ||= isLinkFile;
    const whiteout = path.includes(".wh.") && !isLinkFile ? this.#whiteoutOf(parent, base) : undefined;
    switch (whiteout?.kind) {
      case "meta":
        return;
      case "opaque":
        return this.#opaque(parent);
      case "whiteout":
        this.#mayBeBootstrap &&= mayBeBootstrap(path);
        return this.#whiteout(parent, whiteout.name);
    }
    this.#mayBeBootstrap &&= mayBeBootstrap(path);
    switch (entry.type) {
      case "directory":
        return this.#folder(entry, path, parent, base);
      case "file":
        return this.#beginFile(entry, path, base);
      case "link":
        this.#hardLink(entry, path, base);
        return this.#metadata.ofHardLink(entry, parent, base);
      case "symlink":
        this.#create(path, (folder) => symlinkat(entry.linkName, folder, base));
        this.#sizeBytes += entry.linkName.length;
        return this.#metadata.ofNode(entry, parent, base);
      default: {
        const type = entry.type === "fifo" ? S.IFIFO : entry.type === "char" ? S.IFCHR : S.IFBLK;
        const rdev = entry.type === "fifo" ? 0 : makedev(entry.devMajor, entry.devMinor);
        this.#create(path, (folder) => mknodat(folder, base, type | 0o600, rdev));
        return this.#metadata.ofNode(entry, parent, base);
      }
    }
  }

  /** Meaning of the name, including its folders: nothing can be below a whiteout, and AUFS's own files are skipped. */
  #whiteoutOf(parent: ByteString, base: Uint8Array): WhiteoutName {
    for (const component of parent.split("/")) {
      const { kind } = parseWhiteout(fromByteString(component));
      if (kind === "meta") return { kind };
      if (kind !== "none") throw refused("a whiteout is not a folder");
    }
    return parseWhiteout(base);
  }

  #shiftOwner(entry: TarEntry): void {
    const owner = toHost(this.#idMaps, entry);
    if (owner === undefined) throw refused(`its owner ${entry.uid}:${entry.gid} is outside the user namespace`);
    entry.uid = owner.uid;
    entry.gid = owner.gid;
  }

  #opaque(parent: ByteString): void {
    if (parent === "") return setOpaqueMark(this.#tree.root, fromByteString("."));
    this.#tree.makeFolder(parent);
    const { parent: above, base } = splitPath(parent);
    const target = statat(this.#tree.folder(above), base, AT.SYMLINK_NOFOLLOW);
    if ((target.mode & S.IFMT) !== S.IFDIR) throw refused("its folder is a symbolic link");
    setOpaqueMark(this.#tree.folder(above), base);
  }

  #whiteout(parent: ByteString, name: Uint8Array): void {
    const text = toByteString(name);
    if (text === "" || text === "." || text === "..") throw refused("it is a whiteout of no name");
    const folder = this.#tree.makeFolder(parent);
    try {
      mknodat(folder, name, S.IFCHR, 0);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      // A whiteout hides what is below, never what its own layer has. That is kept, and hides by itself unless it
      // merges.
      const stat = statat(folder, name, AT.SYMLINK_NOFOLLOW);
      if ((stat.mode & S.IFMT) === S.IFDIR) setOpaqueMark(folder, name);
    }
  }

  /** Creates a file, replacing an earlier entry if necessary. */
  #create<T>(path: ByteString, make: (folder: Fd) => T): T {
    const { parent } = splitPath(path);
    try {
      return make(this.#tree.makeFolder(parent));
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    this.#remove(path);
    return make(this.#tree.makeFolder(parent));
  }

  #remove(path: ByteString): void {
    this.#sizeBytes -= this.#tree.remove(path);
    this.#metadata.forget(path);
  }

  #folder(entry: TarEntry, path: ByteString, parent: ByteString, base: Uint8Array): void {
    if (this.#tree.makeChild(this.#tree.makeFolder(parent), base, 0o700) === "in the way") {
      this.#remove(path);
      this.#tree.makeChild(this.#tree.makeFolder(parent), base, 0o700);
    }
    const folder = openat(this.#tree.folder(parent), base, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    this.#tree.adopt(path, folder);
    this.#metadata.ofFolder(entry, path, folder);
  }

  #beginFile(entry: TarEntry, path: ByteString, base: Uint8Array): void {
    const mode = this.#metadata.creationMode(entry);
    this.#file = this.#create(
      path,
      (folder) => openat(folder, base, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, mode),
    );
    this.#createdMode = mode;
    this.#writtenTo = 0;
    this.#writebackTo = 0;
  }

  #endFile(): void {
    const entry = this.#entry as TarEntry;
    using file = this.#file as Fd;
    this.#file = undefined;
    if (this.#writtenTo < entry.sizeBytes) ftruncate(file, entry.sizeBytes);
    this.#metadata.ofFile(entry, file, this.#createdMode);
    this.#sizeBytes += entry.sizeBytes;
  }

  #hardLink(entry: TarEntry, path: ByteString, base: Uint8Array): void {
    const target = cleanPath(toByteString(entry.linkName));
    if (target === undefined || target === "") throw refused("its hard link target is outside the layer");
    const { parent: targetParent, base: targetBase } = splitPath(target);
    const link = () => {
      const folder = this.#tree.makeFolder(splitPath(path).parent);
      try {
        linkat(this.#tree.folder(targetParent), targetBase, folder, base);
      } catch (error) {
        if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
        throw refused(`hard link target "${entryName(entry.linkName)}" is not in this layer`);
      }
    };
    try {
      return link();
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const existing = statat(this.#tree.folder(splitPath(path).parent), base, AT.SYMLINK_NOFOLLOW);
    const wanted = statat(this.#tree.folder(targetParent), targetBase, AT.SYMLINK_NOFOLLOW);
    if (existing.ino === wanted.ino && existing.dev === wanted.dev && !isWhiteout(wanted)) return;
    this.#remove(path);
    link();
  }

  #guard(step: () => void, at: number | undefined): void {
    try {
      step();
    } catch (error) {
      throw this.#explain(error, at);
    }
  }

  #explain(error: unknown, at: number | undefined): unknown {
    const place = at === undefined ? "" : ` at ${at}`;
    const what = `Cannot apply tar entry "${entryName(this.#entry?.name ?? new Uint8Array(0))}"${place}`;
    if (error instanceof Refusal) return new NydusGdError("invalid-image", `${what}: ${error.message}`);
    if (!(error instanceof SyscallError || error instanceof NydusGdError)) return error;
    const isDisk = isErrno(error, "ENOSPC", "EDQUOT", "EIO", "EROFS", "ENOMEM", "EMFILE", "ENFILE", "EPERM", "EACCES");
    return new NydusGdError(isDisk ? "io" : "invalid-image", `${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** Reason why an entry is refused; becomes a {@link NydusGdError} with the entry's name. */
class Refusal extends Error {}

function refused(state: string): Refusal {
  return new Refusal(state);
}

function checkDevice({ devMajor, devMinor }: TarEntry): void {
  if (devMajor < 0 || devMajor > MAX_MAJOR || devMinor < 0 || devMinor > MAX_MINOR) {
    throw refused(`device is ${devMajor}:${devMinor}`);
  }
}
