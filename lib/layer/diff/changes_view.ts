/**
 * The merged view of a stack of overlay layers, computed from the layers themselves without a mount.
 *
 * A {@link StackFolder} is one folder of the merged tree: a path and the layers that contribute to it, topmost first.
 * overlayfs's rules (Documentation/filesystems/overlayfs.rst, Linux 6.18): the topmost layer that has a name decides; a
 * folder merges with the folders of that name below it until a layer has something else there, a whiteout, or an opaque
 * folder. Unlike the kernel, an opaque mark on the root of a layer counts: it hides every layer below.
 *
 * The topmost layer may be in use: a name that vanishes during the scan counts as absent.
 *
 * Layers that were mounted with `redirect_dir` or `metacopy` are not supported; ours never are.
 *
 * @module
 */
import { type DirectoryEntry, DT, readDirectory } from "../../../ffi/dirent.ts";
import { isErrno } from "../../../ffi/errno.ts";
import { AT, O, open, openat2, RESOLVE } from "../../../ffi/fcntl.ts";
import { type Fd, pathBelow } from "../../../ffi/fd.ts";
import { S, type Stat, statat } from "../../../ffi/sys_stat.ts";
import { lgetxattr } from "../../../ffi/sys_xattr.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { hasOpaqueMark, hasOpaqueMarkIn, isWhiteout } from "../overlay/overlay_marks.ts";

/** A folder of the merged tree. */
export interface StackFolder {
  /** Relative to the root, "" for the root itself. */
  readonly path: ByteString;
  /** Absolute paths of the contributing layers, topmost first; never empty. */
  readonly layers: readonly string[];
}

/** A name in a folder of the merged tree. */
export interface StackChild {
  readonly name: ByteString;
  readonly isFolder: boolean;
  /** For a folder, all contributing layers, topmost first; otherwise the layer that has the file. */
  readonly layers: readonly string[];
}

/** The result of `look`; undefined if its file has vanished meanwhile. */
export function ifPresent<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** The root of a stack, cut off below the first opaque root; undefined for an empty stack. */
export function stackRoot(layers: readonly string[]): StackFolder | undefined {
  if (layers.length === 0) return undefined;
  const opaque = layers.findIndex((layer) => hasOpaqueMark(layer));
  return { path: "", layers: opaque < 0 ? layers : layers.slice(0, opaque + 1) };
}

/** The child as a folder. */
export function childFolder(parent: StackFolder, child: StackChild): StackFolder {
  return { path: childPath(parent.path, child.name), layers: child.layers };
}

/** "a/b" of "a" and "b", "b" of "" and "b". */
export function childPath(parent: ByteString, name: ByteString): ByteString {
  return parent === "" ? name : `${parent}/${name}`;
}

/** One folder of the merged tree, with its layers' folders open. */
export class OpenStackFolder implements Disposable {
  readonly #folders = new Map<string, Fd>();

  constructor(readonly folder: StackFolder) {
    try {
      for (const layer of folder.layers) this.#folders.set(layer, openBelow(layer, folder.path));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Visible children by name. */
  children(): Map<ByteString, StackChild> {
    const found = new Map<ByteString, MergingChild>();
    for (const [layer, folder] of this.#folders) {
      for (const entry of [...readDirectory(folder)]) this.#merge(found, layer, folder, entry);
    }
    const children = new Map<ByteString, StackChild>();
    for (const [name, { kind, layers }] of found) {
      if (kind !== "whiteout") children.set(name, { name, isFolder: kind === "folder", layers });
    }
    return children;
  }

  /** Attributes in the merged tree; undefined if the name has vanished. */
  stat(child: StackChild): Stat | undefined {
    return ifPresent(() => statat(this.folderOf(child), fromByteString(child.name), AT.SYMLINK_NOFOLLOW));
  }

  /** The value of `security.capability`; empty if unset. */
  capability(child: StackChild): Uint8Array {
    return xattrOrEmpty(() =>
      lgetxattr(pathBelow(this.folderOf(child), fromByteString(child.name)), "security.capability")
    );
  }

  /** The open folder of the layer that has the child. */
  folderOf(child: StackChild): Fd {
    const folder = this.#folders.get(child.layers[0] ?? "");
    if (folder === undefined) throw new Error(`Cannot find "${child.name}": it is of another folder`);
    return folder;
  }

  [Symbol.dispose](): void {
    for (const folder of this.#folders.values()) folder[Symbol.dispose]();
    this.#folders.clear();
  }

  #merge(found: Map<ByteString, MergingChild>, layer: string, folder: Fd, entry: DirectoryEntry): void {
    const name = toByteString(entry.name);
    const above = found.get(name);
    if (above !== undefined && !above.merges) return;
    const kind = kindOf(folder, entry);
    if (above === undefined) {
      found.set(name, { kind, layers: [layer], merges: kind === "folder" });
      return;
    }
    const last = this.#folders.get(above.layers.at(-1) ?? "");
    const isCut = last !== undefined && hasOpaqueMarkIn(last, entry.name);
    if (kind !== "folder" || isCut) above.merges = false;
    else above.layers.push(layer);
  }
}

interface MergingChild {
  readonly kind: "folder" | "whiteout" | "other";
  readonly layers: string[];
  /** Whether folders of lower layers may still merge. */
  merges: boolean;
}

function kindOf(folder: Fd, { name, type }: DirectoryEntry): MergingChild["kind"] {
  if (type === DT.DIR) return "folder";
  if (type !== DT.CHR && type !== DT.UNKNOWN) return "other";
  const stat = ifPresent(() => statat(folder, name, AT.SYMLINK_NOFOLLOW));
  if (stat === undefined) return "other";
  if ((stat.mode & S.IFMT) === S.IFDIR) return "folder";
  return isWhiteout(stat) ? "whiteout" : "other";
}

function openBelow(layer: string, path: ByteString): Fd {
  using root = open(layer, O.PATH | O.DIRECTORY);
  const resolve = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS;
  return openat2(root, path === "" ? "." : fromByteString(path), { flags: O.RDONLY | O.DIRECTORY, resolve });
}

/** The attribute of a file; empty if it is unset, or the file has vanished. */
function xattrOrEmpty(read: () => Uint8Array): Uint8Array {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, "ENODATA", "EOPNOTSUPP", "ENOENT")) return new Uint8Array(0);
    throw error;
  }
}
