/**
 * Finds a file of an image by its path, as a kernel does whose root the image is: symbolic links are followed, neither
 * "/" nor ".." leads out.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { emptyAttr } from "../../rafs/walk.ts";
import { MAX_LINKS, pathParts } from "../tree_way.ts";

/** A regular file. */
export interface FoundFile {
  readonly ino: number;
  readonly size: number;
}

/**
 * The regular file that `path` leads to from the root; undefined where there is none.
 *
 * @throws {RafsError} for damage on the way
 */
export function findFile(tree: Bootstrap, path: ByteString): FoundFile | undefined {
  const attr = emptyAttr();
  /** Names that are left, the next one last. */
  const names = pathParts(path).reverse();
  const folders = [tree.rootIno];
  let links = 0;
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    if (name === "..") {
      if (folders.length > 1) folders.pop();
      continue;
    }
    const ino = tree.lookup(folders.at(-1) ?? tree.rootIno, fromByteString(name));
    if (ino === 0) return undefined;
    tree.attr(ino, attr);
    const type = attr.mode & S.IFMT;
    if (type === S.IFDIR) {
      folders.push(ino);
    } else if (type === S.IFLNK) {
      if (++links > MAX_LINKS) return undefined;
      const target = toByteString(tree.readlink(ino));
      if (target.startsWith("/")) folders.length = 1;
      names.push(...pathParts(target).reverse());
    } else {
      return type === S.IFREG && names.length === 0 ? { ino, size: attr.size } : undefined;
    }
  }
  return undefined;
}
