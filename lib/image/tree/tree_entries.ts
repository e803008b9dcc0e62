/**
 * Enumerates the names of a tree for writing it out, with hard links resolved.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { type ByteString, toByteString } from "../../base/bytes.ts";
import type { Bootstrap, InodeAttr } from "../../rafs/bootstrap.ts";
import { walkTree } from "../../rafs/walk.ts";
import type { FileRef } from "./file_contents.ts";

/** A name in the tree. */
export interface NamedEntry {
  /** Without a leading slash; "" for the root. */
  readonly path: ByteString;
  readonly ino: number;
  /** Reused for each entry. Owners are those stored in the image, or root if it stores none. */
  readonly attr: Readonly<InodeAttr>;
  /** The first name of the same inode, if this is a further one. */
  readonly linkTo: ByteString | undefined;
}

/**
 * Yields all names, each directory before its content.
 *
 * @throws {RafsError} for damage
 */
export function* namedEntries(tree: Bootstrap): Generator<NamedEntry> {
  const firstNames = new Map<number, ByteString>();
  for (const { path: absolute, ino, attr } of walkTree(tree)) {
    const path = toByteString(absolute.subarray(1));
    const isShared = attr.nlink > 1 && (attr.mode & S.IFMT) !== S.IFDIR;
    const linkTo = isShared ? firstNames.get(ino) : undefined;
    if (isShared && linkTo === undefined) firstNames.set(ino, path);
    yield { path, ino, linkTo, attr: tree.explicitUidGid ? attr : { ...attr, uid: 0, gid: 0 } };
  }
}

/** Returns the extended attributes of an inode by name. */
export function xattrsOf(tree: Bootstrap, ino: number): Map<ByteString, Uint8Array> {
  if (!tree.hasXattrs) return new Map();
  return new Map(Array.from(tree.xattrs(ino), ([name, value]) => [toByteString(name), value]));
}

/** Yields each regular file once, in the order of {@link namedEntries}. */
export function* filesOf(tree: Bootstrap): Generator<FileRef> {
  for (const { ino, attr: { mode, size }, linkTo } of namedEntries(tree)) {
    if ((mode & S.IFMT) === S.IFREG && linkTo === undefined) yield { ino, size };
  }
}
