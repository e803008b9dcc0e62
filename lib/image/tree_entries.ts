/**
 * The entries of a tree as who writes it down needs them: names, what is there, and which names are one file.
 *
 * @module
 */
import { S } from "../../ffi/sys_stat.ts";
import { type ByteString, toByteString } from "../base/bytes.ts";
import type { Bootstrap, InodeAttr } from "../rafs/bootstrap.ts";
import { walkTree } from "../rafs/walk.ts";
import type { FileRef } from "./file_contents.ts";

/** One name. */
export interface NamedEntry {
  /** Without a leading slash, "" for the root. */
  readonly path: ByteString;
  readonly ino: number;
  /** Filled anew for every entry. Owners are those that the image stores, root where it stores none. */
  readonly attr: Readonly<InodeAttr>;
  /** An earlier name of the same inode. */
  readonly linkTo: ByteString | undefined;
}

/**
 * Every name, a directory before what it holds.
 *
 * @throws {RafsError} on damage
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

/** The regular files of the tree in the order of {@link namedEntries}, each once. */
export function* filesOf(tree: Bootstrap): Generator<FileRef> {
  for (const { ino, attr: { mode, size }, linkTo } of namedEntries(tree)) {
    if ((mode & S.IFMT) === S.IFREG && linkTo === undefined) yield { ino, size };
  }
}
