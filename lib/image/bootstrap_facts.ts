/**
 * Properties of an unmounted image, read from its bootstrap.
 *
 * @module
 */
import { S } from "../../ffi/sys_stat.ts";
import type { ImageRoot } from "../layer/lazy_images.ts";
import { emptyAttr } from "../rafs/walk.ts";
import { MappedBootstrap } from "./open_image.ts";

/**
 * Returns the attributes of the root directory.
 *
 * @throws as {@link MappedBootstrap.open}
 */
export function rootOf(bootstrapPath: string): ImageRoot {
  using bootstrap = MappedBootstrap.open(bootstrapPath);
  const { tree } = bootstrap;
  const root = emptyAttr();
  tree.attr(tree.rootIno, root);
  return { mode: root.mode & ~S.IFMT, uid: root.uid, gid: root.gid };
}
