/**
 * Finds a file of an image by path, as seen by a process with the image as its root.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { type Bootstrap, emptyAttr } from "../../rafs/bootstrap.ts";
import { pathParts, PathResolver } from "../tree/path_resolver.ts";

/** A regular file. */
export interface FoundFile {
  readonly ino: number;
  readonly size: number;
}

/**
 * Returns the regular file at `path`, relative to the root, following symbolic links; undefined if there is none.
 *
 * @throws {RafsError} if the tree is damaged
 */
export function findFile(tree: Bootstrap, path: ByteString): FoundFile | undefined {
  const attr = emptyAttr();
  const typeOf = (ino: number) => {
    tree.attr(ino, attr);
    return attr.mode & S.IFMT;
  };
  const resolver = new PathResolver<number, number>(tree.rootIno, {
    isFolder: (ino): ino is number => typeOf(ino) === S.IFDIR,
    childOf: (folder, name) => tree.lookup(folder, fromByteString(name)) || undefined,
    targetOf: (ino) => typeOf(ino) === S.IFLNK ? toByteString(tree.readlink(ino)) : undefined,
  });
  const ino = resolver.resolve(pathParts(path));
  return ino !== undefined && typeOf(ino) === S.IFREG ? { ino, size: attr.size } : undefined;
}
